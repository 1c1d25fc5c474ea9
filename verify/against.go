package verify

import (
	"context"

	"reseal/internal/call"
	"reseal/internal/table"
)

// Against reads the configuration of both tables as they are now, and no item. It returns the lines that Strict counts against the target,
// and the pair that was read. It refuses what Run refuses for the tables' sake.
func Against(ctx context.Context, o Options) ([]Setting, table.Pair, error) {
	if err := o.checkStrict(); err != nil {
		return nil, table.Pair{}, err
	}
	pair, err := table.Preflight(ctx, o.Source, o.SourceTable, o.Target, o.TargetTable, table.Needs{Encryption: o.Encryption, Stream: o.Follow.isOn()})
	if err != nil {
		return nil, table.Pair{}, err
	}
	settings, err := configuration(ctx, o, pair, call.Policy{Timeout: o.RequestTimeout}.AttemptTimeout())
	if err != nil {
		return nil, table.Pair{}, err
	}
	return Result{Strict: true, Configuration: differing(settings)}.Against(), pair, nil
}
