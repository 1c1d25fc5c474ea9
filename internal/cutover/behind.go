package cutover

import (
	"context"
	"fmt"
	"strings"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// MetricsAPI is what is asked of CloudWatch; *cloudwatch.Client has it.
type MetricsAPI interface {
	GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error)
}

// ageWindow is how far back the metric is looked at. CloudWatch gets it some minutes late.
const ageWindow = 15 * time.Minute

// IteratorAge is how far behind a function was that reads a stream, at its last batch (AWS Lambda developer guide, "Lambda function
// metrics", IteratorAge: milliseconds). known is false if it had none of late.
func IteratorAge(ctx context.Context, api MetricsAPI, function string, now time.Time) (age time.Duration, known bool, err error) {
	name := function
	if parsed, err := arn.Parse(function); err == nil { // its resource is "function:NAME", and perhaps a version
		if parts := strings.Split(parsed.Resource, ":"); len(parts) > 1 {
			name = parts[1]
		}
	}
	begin := now.Add(-ageWindow)
	out, err := api.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{
		StartTime: &begin, EndTime: &now, ScanBy: types.ScanByTimestampDescending,
		MetricDataQueries: []types.MetricDataQuery{{Id: aws.String("age"), MetricStat: &types.MetricStat{
			Metric: &types.Metric{
				Namespace: aws.String("AWS/Lambda"), MetricName: aws.String("IteratorAge"),
				Dimensions: []types.Dimension{{Name: aws.String("FunctionName"), Value: &name}},
			},
			Period: aws.Int32(60), Stat: aws.String("Maximum"),
		}}},
	})
	if err != nil {
		return 0, false, fmt.Errorf("get metric IteratorAge of %s: %w", name, call.Private(err))
	}
	for _, result := range out.MetricDataResults {
		if len(result.Values) > 0 {
			return time.Duration(result.Values[0]) * time.Millisecond, true, nil
		}
	}
	return 0, false, nil
}
