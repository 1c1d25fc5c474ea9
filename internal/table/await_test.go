package table_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/table"
)

// later is a table that is in one status for some time, and then as described.
func later(status types.TableStatus, until time.Duration, then describer, stream bool) describer {
	start := time.Now()
	return func(ctx context.Context) (*types.TableDescription, error) {
		td, err := then(ctx)
		if err == nil && time.Since(start) < until {
			early := *td
			early.TableStatus = status
			if !stream {
				early.StreamSpecification, early.LatestStreamArn = nil, nil
			}
			return &early, nil
		}
		return td, err
	}
}

// What passes by itself is waited for, and what counts then is what is described after it.
func TestPreflightWaits(t *testing.T) {
	inNoTime(func(t *testing.T) {
		var told []string
		ctx := table.OnWaiting(t.Context(), func(w table.Waiting) { told = append(told, w.String()) })
		start := time.Now()
		// The stream is being enabled until the source is ACTIVE, and the target is not there before that.
		source := later(types.TableStatusUpdating, 4*time.Minute, described("src"), false)
		target := later(types.TableStatusCreating, 7*time.Minute, described("tgt"), true)
		pair, err := table.Preflight(ctx, source, "src", target, "tgt", table.Needs{Stream: true})
		if err != nil || pair.Source.StreamARN() == "" || pair.Target.Raw.TableStatus != types.TableStatusActive {
			t.Fatalf("%+v, %v", pair, err)
		}
		if d := time.Since(start); d < 7*time.Minute || d > 7*time.Minute+6*time.Second {
			t.Errorf("it took %s", d)
		}
		if len(told) != 2 || !strings.Contains(told[0], `source table "src" is UPDATING`) || !strings.Contains(told[1], `target table "tgt" is CREATING`) || !strings.Contains(told[0], "10m") {
			t.Errorf("told %q", told)
		}
	})(t)
}

// While one table is waited for, the other may change: both must be ACTIVE, and as they are described, at once.
func TestPreflightLooksAtBothAgain(t *testing.T) {
	inNoTime(func(t *testing.T) {
		start := time.Now()
		source := describer(func(ctx context.Context) (*types.TableDescription, error) {
			if time.Since(start) > time.Minute {
				return described("src", noStream)(ctx)
			}
			return described("src")(ctx)
		})
		target := later(types.TableStatusUpdating, 2*time.Minute, described("tgt"), true)
		_, err := table.Preflight(t.Context(), source, "src", target, "tgt", table.Needs{Stream: true})
		wantRefusal(t, err, "no stream")
	})(t)
}

// Nothing is waited for that doesn't help.
func TestPreflightWaitsForNothing(t *testing.T) {
	inNoTime(func(t *testing.T) {
		start := time.Now()
		updating := described("src", status(types.TableStatusUpdating))
		_, err := table.Preflight(t.Context(), updating, "src", described("tgt", status(types.TableStatusArchived)), "tgt", table.Needs{})
		wantRefusal(t, err, "target", "ARCHIVED")
		_, err = table.Preflight(t.Context(), updating, "src", updating, "src", table.Needs{})
		wantRefusal(t, err, "same table")
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %s", d)
		}
	})(t)
}

func TestAwait(t *testing.T) {
	inNoTime(func(t *testing.T) {
		info, err := table.Await(t.Context(), later(types.TableStatusUpdating, time.Minute, described("src"), true), table.OnlyTable, "src")
		if err != nil || info.Raw.TableStatus != types.TableStatusActive {
			t.Errorf("%+v, %v", info, err)
		}
		index := func(td *types.TableDescription) {
			td.TableStatus = types.TableStatusUpdating
			td.GlobalSecondaryIndexes = []types.GlobalSecondaryIndexDescription{{IndexName: aws.String("by-a"), IndexStatus: types.IndexStatusCreating}}
		}
		start := time.Now()
		_, err = table.Await(t.Context(), described("src", index), table.OnlyTable, "src")
		wantRefusal(t, err, `the table "src" is still UPDATING (its index by-a is CREATING) after 10m0s`, "wait until it is ACTIVE")
		if d := time.Since(start); d < table.Patience || d > table.Patience+5*time.Second {
			t.Errorf("it waited for %s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		if _, err = table.Await(ctx, described("src", index), table.OnlyTable, "src"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})(t)
}
