package stream

import (
	"testing"
	"time"

	"reseal/internal/call"
)

// How far the stream was read is known only if it is in every shard: not while one that isn't drained has no reader, or while one has
// ended and its child isn't listed, or only before its end.
func TestReadThrough(t *testing.T) {
	t.Parallel()
	now := time.Now()
	reads := func(ago time.Duration) *reader { return &reader{through: now.Add(-ago)} }
	ended := func(ago time.Duration) *reader { return &reader{through: now, ended: now.Add(-ago)} }
	for name, test := range map[string]struct {
		listed  time.Duration // ago
		parents map[string]string
		readers map[string]*reader
		drained string
		want    time.Duration // ago; below 0: not known
	}{
		"no shard":                  {want: -1},
		"all":                       {parents: map[string]string{"a": "", "b": ""}, readers: map[string]*reader{"a": reads(2), "b": reads(5)}, want: 5},
		"one never":                 {parents: map[string]string{"a": "", "b": ""}, readers: map[string]*reader{"a": reads(2), "b": {}}, want: -1},
		"one waits":                 {parents: map[string]string{"a": "", "b": "a"}, readers: map[string]*reader{"a": reads(2)}, want: -1},
		"one is drained":            {parents: map[string]string{"a": "", "b": "a"}, readers: map[string]*reader{"b": reads(3)}, drained: "a", want: 3},
		"ended, child read":         {parents: map[string]string{"a": "", "b": "a"}, readers: map[string]*reader{"a": ended(9), "b": reads(4)}, drained: "a", want: 4},
		"ended, child not listed":   {parents: map[string]string{"a": "", "c": ""}, readers: map[string]*reader{"a": ended(9), "c": reads(4)}, drained: "a", want: -1},
		"ended after the listing":   {listed: 20, parents: map[string]string{"a": "", "b": "a"}, readers: map[string]*reader{"a": ended(9), "b": reads(4)}, drained: "a", want: -1},
		"ended, child has no reads": {parents: map[string]string{"a": "", "b": "a"}, readers: map[string]*reader{"a": ended(9), "b": {}}, drained: "a", want: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &Follower{position: NewPositions(call.Clock{}), listed: newListing(), readers: test.readers}
			f.listed.at = now.Add(-test.listed)
			for shard, parent := range test.parents {
				f.listed.put(shard, parent, "1", false)
			}
			f.position.drained(test.drained)
			want := time.Time{}
			if test.want >= 0 {
				want = now.Add(-test.want)
			}
			if got := f.ReadThrough(); !got.Equal(want) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A single read that finds nothing shows nothing, and several do at once only at the end of the shard.
func TestReadsThatFindNothing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := &reader{}
	for i := range 10 {
		r.foundNothing(now.Add(time.Duration(i) * time.Second))
	}
	if !r.doneThrough().IsZero() {
		t.Error("the first of the shard's records may still come")
	}
	r.foundNothing(now.Add(10 * time.Second))
	if want := now.Add(9*time.Second - AppearsWithin); !r.doneThrough().Equal(want) {
		t.Errorf("read through %s, want %s", r.doneThrough(), want)
	}
	r = &reader{}
	r.begunAtTip()
	if r.foundNothing(now); !r.doneThrough().IsZero() {
		t.Error("one read is not two")
	}
	if r.foundNothing(now.Add(time.Second)); !r.doneThrough().Equal(now.Add(-AppearsWithin)) {
		t.Errorf("read through %s, want a second before %s", r.doneThrough(), now)
	}
}
