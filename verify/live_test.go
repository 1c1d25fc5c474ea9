package verify_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// write is one of the application, and what there is then.
type write struct {
	at   time.Time
	id   string
	item attrs // nil: deleted
}

// live is a source that an application writes to, and a target that follows it late.
type live struct {
	ts     *tables
	lag    time.Duration
	random *rand.Rand
	items  int
	hot    int           // of them, the first ones: written each second time
	queue  chan write    // to the target
	lose   chan struct{} // each value in it loses the next write; its key is written no more
	lost   string        // its key, valid after stop
	spared map[string]bool

	applying atomic.Int64 // when the write was made that the target is about to get, in Unix nanoseconds; 0: there is none
}

// write puts or deletes a random item of the source, rate times a second.
func (l *live) write(ctx context.Context, perSecond float64) error {
	defer close(l.queue)
	limiter := rate.NewLimiter(rate.Limit(perSecond), 10)
	for n := 0; ctx.Err() == nil; n++ {
		if limiter.Wait(ctx) != nil {
			break
		}
		number := l.random.IntN(l.items-l.hot) + l.hot
		if l.hot > 0 && n%2 == 0 {
			number = l.random.IntN(l.hot)
		}
		w := write{id: fmt.Sprint("k", number), at: time.Now()}
		if l.spared[w.id] {
			continue
		}
		if l.random.IntN(5) > 0 || number < l.hot {
			w.item = testkit.Item("id", w.id, "v", n, "text", fmt.Sprint("written ", l.random.Uint64()))
		}
		if err := l.apply(ctx, l.ts.source, w); err != nil {
			return err
		}
		l.pass(w)
	}
	return nil
}

// pass lets the target follow, unless the write is to be lost: a put, which shows whatever the target has.
func (l *live) pass(w write) {
	if w.item != nil {
		select {
		case <-l.lose:
			l.lost, l.spared[w.id] = w.id, true
			return
		default:
		}
	}
	for l.behind() > l.lag*6/5 { // the target is no later than a test says, however busy the machine is
		<-time.After(time.Millisecond)
	}
	l.queue <- w
}

// behind is how late the target is.
func (l *live) behind() time.Duration {
	if at := l.applying.Load(); at != 0 {
		return time.Since(time.Unix(0, at))
	}
	return 0
}

// follow does to the target what was done to the source, late.
func (l *live) follow(ctx context.Context) error {
	for w := range l.queue {
		l.applying.Store(w.at.UnixNano())
		select {
		case <-time.After(time.Until(w.at.Add(l.lag))):
		case <-ctx.Done():
		}
		err := l.apply(ctx, l.ts.target, w)
		l.applying.Store(0)
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *live) apply(ctx context.Context, table string, w write) error {
	ctx = context.WithoutCancel(ctx) // so that both tables have the same writes at the end
	if w.item == nil {
		_, err := l.ts.engine.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: testkit.Item("id", w.id)})
		return err
	}
	_, err := l.ts.engine.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: w.item})
	return err
}

// during runs f while the application writes, and returns when the target has followed.
func (l *live) during(perSecond float64, f func()) {
	l.ts.t.Helper()
	ctx, stop := context.WithCancel(l.ts.t.Context())
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return l.write(ctx, perSecond) })
	group.Go(func() error { return l.follow(ctx) })
	f()
	stop()
	if err := group.Wait(); err != nil {
		l.ts.t.Errorf("application: %v", err)
	}
}

func newLive(t *testing.T, seed uint64, items, hot int, lag time.Duration) *live {
	t.Helper()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	all := make([]attrs, items)
	for i := range all {
		all[i] = testkit.Item("id", fmt.Sprint("k", i), "v", "as loaded")
	}
	ts.fill(all)
	return &live{
		ts: ts, lag: lag, random: rand.New(rand.NewPCG(seed, 0)), items: items, hot: hot,
		queue: make(chan write, 100_000), lose: make(chan struct{}, 1), spared: map[string]bool{},
	}
}

// pace is how much of the numbers a test takes: with RESEAL_LONG=1 all of it, a lag of 10 s, a settling time of 30 s, and
// 20 runs; otherwise a tenth, and few runs.
func pace() (lag, settle time.Duration, runs int) {
	if os.Getenv("RESEAL_LONG") != "" {
		return 10 * time.Second, 30 * time.Second, 20
	}
	return time.Second, 3 * time.Second, 3
}

// While the application makes 200 writes a second and the target follows late, nothing is a difference but the one update that
// was lost, where one was.
func TestLiveTraffic(t *testing.T) {
	testkit.SkipIf(t, testkit.Slow)
	t.Parallel()
	lag, settle, runs := pace()
	for run := range runs {
		for _, lose := range []bool{false, true} {
			t.Run(fmt.Sprintf("run %d, lost %t", run, lose), func(t *testing.T) {
				l := newLive(t, uint64(run), 10_000, 0, lag)
				var result verify.Result
				var found map[string]difference
				l.during(200, func() {
					if lose {
						l.lose <- struct{}{}
					}
					<-time.After(lag) // so that the target is late by all of it
					result, found = l.ts.verify(settling(settle))
				})
				if result.Settled == 0 {
					t.Error("nothing differed at first: the test tests nothing")
				}
				t.Logf("%d settled in %.1f s", result.Settled, result.ElapsedSeconds)
				if !lose {
					if !result.Match || len(found) > 0 {
						t.Errorf("%+v, found %v", verdictOf(result), found)
					}
					l.ts.judge()
					return
				}
				_, is := found[fmt.Sprintf(`{"id":{"S":"%s"}}`, l.lost)]
				if result.Match || len(found) != 1 || !is || result.StillChanging > 0 || l.lost == "" {
					t.Errorf("lost %s: %+v, found %v", l.lost, verdictOf(result), found)
				}
			})
		}
	}
}

// Items that never stand still are neither equal nor different.
func TestHotItemsUnderLiveTraffic(t *testing.T) {
	testkit.SkipIf(t, testkit.Slow)
	t.Parallel()
	const lag, settle, hot = time.Second, 2 * time.Second, 5
	l := newLive(t, 1, 5_000, hot, lag)
	var result verify.Result
	var found map[string]difference
	l.during(200, func() {
		<-time.After(lag)
		result, found = l.ts.verify(settling(settle))
	})
	if result.Match || result.StillChanging < 1 || result.StillChanging > hot || result.StillChanging != int64(len(found)) {
		t.Errorf("%+v, found %v", verdictOf(result), found)
	}
	result, _ = l.ts.verify(settling(settle))
	if !result.Match {
		t.Errorf("at rest: %+v", verdictOf(result))
	}
}
