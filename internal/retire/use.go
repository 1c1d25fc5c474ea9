package retire

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// CloudWatch is what is asked of it; *cloudwatch.Client has it.
type CloudWatch interface {
	GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error)
}

// latest is the newest of some times, of several goroutines.
type latest struct {
	mu sync.Mutex
	t  time.Time
}

func (l *latest) note(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.After(l.t) {
		l.t = t
	}
}

func (l *latest) time() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t
}

const (
	// knownFor is how far back CloudWatch is asked whether it knows the table at all. It keeps data of five minutes for 63 days (Amazon
	// CloudWatch user guide, "Metrics retention").
	knownFor  = 60 * 24 * time.Hour
	usePeriod = time.Hour
)

// metric is one that tells of use: of the table, or of an index of it.
type metric struct{ name, index string }

func (m metric) String() string {
	what := map[string]string{"ConsumedReadCapacityUnits": "reads", "ConsumedWriteCapacityUnits": "writes"}[m.name]
	if m.index != "" {
		return what + " of its index " + m.index
	}
	return what
}

// checkUse asks CloudWatch for the units that the table and its indexes consumed. A table that nobody uses has no data, as one has that
// CloudWatch doesn't know: so it has to know of some use in the weeks before.
func checkUse(ctx context.Context, o Options) ([]string, error) {
	if o.UnusedFor <= 0 {
		return nil, nil
	}
	metrics := []metric{{name: "ConsumedReadCapacityUnits"}, {name: "ConsumedWriteCapacityUnits"}}
	for _, index := range o.Table.Raw.GlobalSecondaryIndexes {
		for _, m := range metrics[:2] {
			metrics = append(metrics, metric{m.name, aws.ToString(index.IndexName)})
		}
	}
	now := o.Table.Clock.Now()
	since := now.Add(-o.UnusedFor)
	var list []string
	known := false
	for _, m := range metrics {
		last, units, any, err := lastUse(ctx, o, m, since.Truncate(usePeriod), now)
		if err != nil {
			return nil, fmt.Errorf("its %s are not known: %w", m, err)
		}
		known = known || any
		if units > 0 {
			list = append(list, fmt.Sprintf("CloudWatch has %s of it (%g units since %s, last in the hour of %s): wait, or give a shorter --unused-for",
				m, units, since.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339)))
		}
	}
	if !known {
		list = append(list, "CloudWatch knows of no use of it in 60 days, not even of the copy: it may be asked in another account or Region")
	}
	return list, nil
}

// lastUse adds up a metric since a time, and tells whether there is any data in knownFor.
func lastUse(ctx context.Context, o Options, m metric, since, now time.Time) (last time.Time, units float64, known bool, err error) {
	dimensions := []types.Dimension{{Name: aws.String("TableName"), Value: &o.Table.Name}}
	if m.index != "" {
		dimensions = append(dimensions, types.Dimension{Name: aws.String("GlobalSecondaryIndexName"), Value: &m.index})
	}
	in := &cloudwatch.GetMetricDataInput{
		StartTime: aws.Time(now.Add(-knownFor).Truncate(usePeriod)), EndTime: &now, ScanBy: types.ScanByTimestampDescending,
		MetricDataQueries: []types.MetricDataQuery{{Id: aws.String("use"), MetricStat: &types.MetricStat{
			Metric: &types.Metric{Namespace: aws.String("AWS/DynamoDB"), MetricName: &m.name, Dimensions: dimensions},
			Period: aws.Int32(int32(usePeriod.Seconds())), Stat: aws.String("Sum"),
		}}},
	}
	pages := cloudwatch.NewGetMetricDataPaginator(o.CloudWatch, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return time.Time{}, 0, false, fmt.Errorf("get metric data: %w", err)
		}
		for _, result := range page.MetricDataResults {
			if result.StatusCode == types.StatusCodeInternalError || result.StatusCode == types.StatusCodeForbidden || len(result.Timestamps) != len(result.Values) {
				return time.Time{}, 0, false, fmt.Errorf("get metric data: the answer is not whole (%s)", result.StatusCode)
			}
			for i, at := range result.Timestamps {
				if result.Values[i] <= 0 {
					continue
				}
				known = true
				if at.Before(since) {
					continue
				}
				units += result.Values[i]
				if at.After(last) {
					last = at
				}
			}
		}
	}
	return last, units, known, nil
}
