package stream

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reseal/internal/call"
	"reseal/internal/test/testkit"
)

// dated is a Follower of a stream of one shard, whose service has another clock than this machine's.
func dated(t *testing.T, ahead time.Duration) *Follower {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		body := `{"ShardIterator":"i"}`
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "DescribeStream") {
			body = `{"StreamDescription":{"StreamStatus":"ENABLED","Shards":[{"ShardId":"shardId-00000001","SequenceNumberRange":{"StartingSequenceNumber":"100"}}]}}`
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	follower, err := New(t.Context(), Options{API: testkit.Streams(server.URL), ARN: "arn", Positions: NewPositions(call.Clock{})})
	if err != nil {
		t.Fatal(err)
	}
	return follower
}

// A clock that was learnt later, as after the machine slept, counts at once: what the shard's oldest record is may lie behind a gap.
func TestIteratorsAnswerTellsTheTime(t *testing.T) {
	t.Parallel()
	follower := dated(t, 25*time.Hour)
	if len(follower.first.parents) == 0 {
		t.Fatal("no shard is listed")
	}
	for shard := range follower.first.parents {
		follower.position.clock.Store(nil) // this machine's
		follower.position.begin(shard, "", "", false, false)
		r := &reader{tailer: follower, shard: shard}
		if _, err := r.iterator(t.Context()); !errors.Is(err, ErrTrimmed) {
			t.Errorf("shard %s: %v", shard, err)
		}
	}
}

// The patience is up an hour before the service trims, in the machine's time.
func TestMachineTime(t *testing.T) {
	t.Parallel()
	c := &Positions{}
	if now := time.Now(); c.machine(now).Sub(now).Abs() > time.Second || c.since(now).Abs() > time.Second {
		t.Error("without an answer it isn't the machine's clock")
	}
	c = dated(t, 3*time.Hour).position
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
	c := NewPositions(call.Clock{})
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
