package main

import (
	"context"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
)

// mostBehind is how far behind the Lambda may be for a seed to begin, or go on: a comparison waits until it has caught up.
const mostBehind = 10 * time.Minute

// iteratorAge is cutover's, of a Lambda beside the source.
func iteratorAge(ctx context.Context, source *table.Handle, function string) (age time.Duration, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	api := cloudwatch.NewFromConfig(source.Config, func(o *cloudwatch.Options) {
		if o.BaseEndpoint == nil {
			o.BaseEndpoint = source.LocalEndpoint()
		}
	})
	return cutover.IteratorAge(ctx, api, function, time.Now())
}
