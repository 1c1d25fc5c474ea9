package stream

import (
	"testing"
	"time"
)

func TestForget(t *testing.T) {
	t.Parallel()
	c := &Positions{state: State{Shards: map[string]Position{
		"listed":  {Drained: true, ReadAt: time.Now().Add(-49 * time.Hour)},
		"old":     {Drained: true, ReadAt: time.Now().Add(-49 * time.Hour)},
		"recent":  {Drained: true, ReadAt: time.Now().Add(-47 * time.Hour)},
		"ongoing": {ReadAt: time.Now().Add(-49 * time.Hour)},
	}}}
	c.forget(listing{parents: map[string]string{"listed": ""}})
	if _, is := c.state.Shards["old"]; is || len(c.state.Shards) != 3 || !c.changed {
		t.Errorf("left: %v", c.state.Shards)
	}
}

func TestFoundEmpty(t *testing.T) {
	t.Parallel()
	lately := time.Now().Add(-time.Second)
	before := lately.Add(-readAtStep)
	c := &Positions{state: State{Shards: map[string]Position{
		"lately": {Sequence: "1", ReadAt: lately, AsOf: before}, "before": {Sequence: "2", ReadAt: before, AsOf: before},
	}}}
	c.foundEmpty("lately", before, lately)
	if c.changed || !c.state.Shards["lately"].ReadAt.Equal(lately) {
		t.Error("an idle stream writes the checkpoint each time that it is read")
	}
	c.foundEmpty("before", lately, lately.Add(tipTime-1)) // some empty answers are no end
	if got := c.state.Shards["before"]; !c.changed || got.Sequence != "2" || !got.ReadAt.After(lately) || !got.AsOf.Equal(before) {
		t.Errorf("position is %+v", got)
	}
	c.state.Shards["before"] = Position{Sequence: "2", ReadAt: before, AsOf: before}
	c.foundEmpty("before", lately, lately.Add(tipTime))
	if got := c.state.Shards["before"]; !got.AsOf.Equal(lately) {
		t.Errorf("position is %+v", got)
	}
}
