package cutover

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// metrics is CloudWatch with one metric of one function.
type metrics struct {
	of     string
	values []float64
	err    error
}

func (m metrics) GetMetricData(_ context.Context, in *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	if m.err != nil {
		return nil, m.err
	}
	asked := in.MetricDataQueries[0].MetricStat.Metric
	out := types.MetricDataResult{Id: in.MetricDataQueries[0].Id}
	if aws.ToString(asked.Namespace) == "AWS/Lambda" && aws.ToString(asked.MetricName) == "IteratorAge" && aws.ToString(asked.Dimensions[0].Value) == m.of &&
		in.ScanBy == types.ScanByTimestampDescending {
		out.Values = m.values
	}
	return &cloudwatch.GetMetricDataOutput{MetricDataResults: []types.MetricDataResult{out}}, nil
}

func TestIteratorAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	denied := errors.New("denied")
	for _, c := range []struct {
		function string
		api      metrics
		age      time.Duration
		known    bool
	}{
		{"arn:aws:lambda:us-east-1:123456789012:function:replicator", metrics{of: "replicator", values: []float64{1500, 90_000}}, 1500 * time.Millisecond, true},
		{"arn:aws:lambda:us-east-1:123456789012:function:replicator:live", metrics{of: "replicator", values: []float64{0}}, 0, true},
		{"replicator", metrics{of: "replicator"}, 0, false},
		{"replicator", metrics{err: denied}, 0, false},
	} {
		age, known, err := IteratorAge(t.Context(), c.api, c.function, now)
		if age != c.age || known != c.known || (err != nil) != (c.api.err != nil) {
			t.Errorf("%s: %s, %t, %v", c.function, age, known, err)
		}
	}
}
