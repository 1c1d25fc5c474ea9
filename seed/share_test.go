package seed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// application is what else reads the virtual source: requests of some units each, which come at random.
type application struct {
	rate, each     float64 // units a second, and of a request
	all, throttled int
}

// run makes requests until the context ends. Nobody is kept waiting by one that was throttled.
func (a *application) run(ctx context.Context, v *virtual) {
	random := rand.New(rand.NewPCG(3, 4))
	for {
		pause := time.Duration(random.ExpFloat64() * a.each / a.rate * float64(time.Second))
		if call.Sleep(ctx, pause) != nil {
			return
		}
		a.all++
		v.mu.Lock()
		if v.read.open() {
			v.read.left -= a.each
		} else {
			a.throttled++
		}
		v.mu.Unlock()
	}
}

// An application that takes from 30 to 80 % of a table's provisioned capacity hardly notices a seed: less than one in a thousand of
// its requests is throttled, whether the table has saved up a second's units or, as DynamoDB does, those of 300 s; and the seed takes
// most of what the application leaves.
func TestVirtualShare(t *testing.T) {
	const virtualTime = 5 * time.Minute
	for _, c := range []struct {
		provisioned, share, each, saved, least float64
	}{
		{1000, 0.3, 1, 1, 0.6},
		{1000, 0.6, 1, 1, 0.6},
		{1000, 0.7, 1, 1, 0.6},
		{1000, 0.6, 4, 1, 0.6},
		{1000, 0.8, 1, 1, 0.6},
		{1000, 0.6, 1, 300, 1},
		{100, 0.6, 1, 1, 0.6},
	} {
		name := fmt.Sprintf("%.0f%% of %.0f, %.0f units each, %.0f s", 100*c.share, c.provisioned, c.each, c.saved)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVirtual(sized("item", int(c.provisioned)*1000, 1000), 5*time.Millisecond)
				v.read = tokens{rate: c.provisioned, seconds: c.saved}
				v.given.ReadCapacityUnits, v.given.WriteCapacityUnits = aws.Int64(int64(c.provisioned)), aws.Int64(1_000_000)
				app := application{rate: c.share * c.provisioned, each: c.each}
				ctx, stop := context.WithTimeout(t.Context(), virtualTime)
				defer stop()
				done := make(chan struct{})
				go func() { defer close(done); app.run(ctx, v) }()
				o := seed.Options{Source: v, SourceTable: "source", Target: v, TargetTable: "target", Segments: 16}
				start := time.Now()
				r, err := seed.Run(ctx, o)
				took := time.Since(start)
				stop()
				<-done
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				left := (1 - c.share) * c.provisioned
				used, of1000 := r.ReadUnits/took.Seconds()/left, 1000*float64(app.throttled)/float64(app.all)
				t.Logf("%.2f of 1,000 requests of the application throttled; %.2f of what it leaves is used; %d throttled in %s", of1000, used, r.Throttled, took)
				if of1000 >= 1 {
					t.Errorf("%d of %d requests of the application throttled", app.throttled, app.all)
				}
				if used < c.least {
					t.Errorf("%.2f of what the application leaves is used", used)
				}
			})
		})
	}
}
