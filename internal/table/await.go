package table

import (
	"context"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"
)

// Patience is how long Preflight and Await wait for a table that is CREATING or UPDATING. A change of capacity, as autoscaling makes it,
// takes seconds to minutes; an index that is built may take hours, which nobody should wait for unknowingly.
const Patience = 10 * time.Minute

// Waiting is what is told of a wait.
type Waiting struct {
	Table    Info
	Patience time.Duration // how long it may take
	Reason   string        // what is waited for; "": that it is ACTIVE
}

func (w Waiting) String() string {
	if w.Reason != "" {
		return called(w.Table.Side, w.Table.Name) + " " + w.Reason + ", for " + w.Patience.Round(100*time.Millisecond).String()
	}
	return called(w.Table.Side, w.Table.Name) + " is " + w.Table.stateWords() + ": waiting until it is ACTIVE, for " + w.Patience.String() + " at the most"
}

type waitingKey struct{}

// OnWaiting returns a context with which Preflight and Await tell when they begin to wait for a table. As httptrace does it, so that a
// job in between need not know of it.
func OnWaiting(ctx context.Context, tell func(Waiting)) context.Context {
	return context.WithValue(ctx, waitingKey{}, tell)
}

// TellWaiting tells whoever made the context by OnWaiting.
func TellWaiting(ctx context.Context, w Waiting) {
	if tell, is := ctx.Value(waitingKey{}).(func(Waiting)); is {
		tell(w)
	}
}

// Await describes a table and waits until it is ACTIVE if it is CREATING or UPDATING, for Patience at the most. Its errors are
// *refuse.Error, but for the context's own.
func Await(ctx context.Context, api DescribeAPI, side, name string) (Info, error) {
	var info Info
	err := awaitAll(ctx, func() ([]Info, error) {
		var err error
		info, err = Describe(ctx, api, side, name)
		return []Info{info}, err
	})
	return info, err
}

// awaitAll describes tables, all of them each time, until all are ACTIVE at once.
func awaitAll(ctx context.Context, describe func() ([]Info, error)) error {
	const first, longest = time.Second, 5 * time.Second
	told := map[string]bool{}
	start := time.Now()
	for pause := first; ; pause = min(2*pause, longest) {
		all, err := describe()
		if err != nil {
			return err
		}
		busy, err := notActive(all)
		switch {
		case err != nil:
			return err
		case busy == nil:
			return nil
		case time.Since(start) >= Patience:
			return refuse.New("wait until it is ACTIVE", "%s is still %s after %s", called(busy.Side, busy.Name), busy.stateWords(), Patience)
		}
		if !told[busy.Side] {
			told[busy.Side] = true
			TellWaiting(ctx, Waiting{Table: *busy, Patience: Patience})
		}
		if err := call.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// notActive is the first table that isn't ACTIVE yet; an error if one won't be.
func notActive(all []Info) (busy *Info, err error) {
	for i := range all {
		if err := all[i].CheckState(); err != nil {
			return nil, err
		}
		if busy == nil && passes(all[i].Raw.TableStatus) {
			busy = &all[i]
		}
	}
	return busy, nil
}
