package replicate

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

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
