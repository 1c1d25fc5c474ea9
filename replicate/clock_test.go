package replicate

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"reseal/internal/capacity"
	"reseal/internal/test/testkit"
)

// dated has the answers of both of the source's services dated by another clock than this machine's.
func (f *fixture) dated(o Options, ahead time.Duration) Options {
	f.t.Helper()
	to, err := url.Parse(f.proxy.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	pass.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		return nil
	}
	server := httptest.NewServer(pass)
	f.t.Cleanup(server.Close)
	o.Source, o.Streams = testkit.Client(server.URL), testkit.Streams(server.URL)
	return o
}

// What may be trimmed goes by the service's clock: a machine whose own one is behind, or ahead, doesn't mistake it.
func TestTrimmedGoesByTheServicesClock(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name         string
		ahead        time.Duration // the service's clock
		age          time.Duration // of the position, by this machine's clock
		wantsTrimmed bool
	}{
		{"the machine is behind", 2 * time.Hour, 23 * time.Hour, true},
		{"the machine is ahead", -2 * time.Hour, 25 * time.Hour, false},
		{"both agree, too old", 0, 25 * time.Hour, true},
		{"both agree, young enough", 0, 23 * time.Hour, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := f.dated(f.withCheckpoint(), test.ahead)
			f.run(o)
			changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) {
				then := time.Now().Add(-test.age)
				if off := c.Started.Sub(time.Now().Add(test.ahead)); off.Abs() > time.Minute {
					t.Errorf("the start is noted %s off", off)
				}
				c.Started = then
				for shard, position := range c.Shards {
					position.AsOf, position.ReadAt, position.Sequence = then, then, ""
					c.Shards[shard] = position
				}
			})
			_, err := Run(limited(t), o)
			if test.wantsTrimmed {
				wantIs(t, err, ErrTrimmed)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A clock that was learnt later, as after the machine slept, counts at once: what the shard's oldest record is may lie behind a gap.
func TestIteratorsAnswerTellsTheTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.dated(f.options(), 25*time.Hour)
	position := &checkpoint{file: checkpointFile{Started: time.Now(), Shards: map[string]shardPosition{}}}
	tailer := &tailer{options: o, stream: f.arn, position: position, throttledReads: capacity.NewLimiter(0)}
	shards, err := tailer.list(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	for shard := range shards.parents {
		position.clock.Store(nil) // this machine's
		position.begin(shard, "", "", false, false)
		r := &reader{tailer: tailer, shard: shard}
		_, err := r.iterator(limited(t))
		wantIs(t, err, ErrTrimmed)
	}
	if len(shards.parents) == 0 {
		t.Error("this test tests nothing")
	}
}

// The patience is up an hour before the service trims, in the machine's time.
func TestMachineTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.dated(f.options(), 3*time.Hour)
	c := &checkpoint{}
	if now := time.Now(); c.machine(now).Sub(now).Abs() > time.Second || c.since(now).Abs() > time.Second {
		t.Error("without an answer it isn't the machine's clock")
	}
	tailer := &tailer{options: o, stream: f.arn, position: c, throttledReads: capacity.NewLimiter(0)}
	if _, err := tailer.list(limited(t)); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(3 * time.Hour)
	if off := time.Until(c.machine(then)); off.Abs() > 5*time.Second {
		t.Errorf("it is %s off", off)
	}
	if off := c.since(then); off.Abs() > 5*time.Second {
		t.Errorf("since is %s off", off)
	}
}

// A record that says it was made later than now doesn't make its shard's position look younger than it is.
func TestRecordFromTheFuture(t *testing.T) {
	t.Parallel()
	c := &checkpoint{file: checkpointFile{Shards: map[string]shardPosition{}}}
	for _, made := range []time.Time{time.Now().Add(365 * 24 * time.Hour), {}} {
		c.advance("a", "1", made)
		if off := time.Since(c.of("a").asOf()); off.Abs() > time.Minute {
			t.Errorf("the position is of %s ago", off)
		}
	}
	before := time.Now().Add(-time.Hour)
	if c.advance("a", "1", before); !c.of("a").asOf().Equal(before) {
		t.Errorf("the position is as of %s", c.of("a").asOf())
	}
}
