package verify

import (
	"context"
	"fmt"
	"sync"

	"reseal/internal/call"
	"reseal/internal/item"
)

// repair brings the differing items of the target in line by the rule of the seed (write, then re-check against the source),
// and looks at every one of them afresh. It returns those that still differ. An item is deleted from the target only if the
// source is without it on a consistent read made just before; if it is back on the one made just after, it is written again.
func (r *run) repair(ctx context.Context, differing []*candidate) ([]*candidate, error) {
	keys := make([]item.Key, len(differing))
	afresh := make([]*candidate, len(differing))
	for i, c := range differing {
		keys[i] = c.key
		afresh[i] = &candidate{unmatched: c.unmatched}
		r.source.forget(c.source)
		r.target.forget(c.target)
	}
	refused := r.takeRefusals()
	if err := r.bringInLine(ctx, keys); err != nil {
		return nil, err
	}
	again := settlement{run: r, report: func(d Difference) error {
		d.Refused = refused.why(d.Key.ID())
		return r.recordAgain(d)
	}}
	if err := again.settle(ctx, afresh); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	return again.differing, nil
}

// bringInLine writes the target's items as the source has them. When it returns without an error, none of its requests is alive.
func (r *run) bringInLine(ctx context.Context, keys []item.Key) error {
	if err := r.converge.SettleAll(ctx, keys, r.policy.Lifetime()); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// mostRefused bounds the items that the target may refuse before it is taken that something is wrong with the target.
const mostRefused = 10_000

// refusals are items that the target refuses for what they are, with the service's words, by Key.ID. It is safe for concurrent use.
type refusals struct {
	mu  sync.Mutex
	all map[string]string
}

// takeRefusals has the target's refusals of single items told in the report, and the rest repaired: such an item stays a difference.
func (r *run) takeRefusals() *refusals {
	taken := &refusals{all: map[string]string{}}
	r.converge.Reject = taken.add
	return taken
}

func (r *refusals) add(key item.Key, reason error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == mostRefused {
		return fmt.Errorf("more than %d items refused by the target, the last one: %w", mostRefused, reason)
	}
	r.all[key.ID()] = call.Message(reason)
	return nil
}

// why is in what words an item was refused; "": it wasn't.
func (r *refusals) why(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[id]
}

// forget is for an item that is about to be written again.
func (r *refusals) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, id)
}

// plan says, and for a dry run counts, what repair does, by what was last read. An item whose source is still changing is among it:
// it is copied as it is when its turn comes.
func (r *run) plan(d *Difference) {
	action := Put
	if d.SourceDigest == "" {
		action = Delete
	}
	switch {
	case !r.options.Repair:
	case !r.options.DryRun:
		d.Repair = action
	default:
		d.WouldRepair = action
		if action == Put {
			r.result.WouldPut++
		} else {
			r.result.WouldDelete++
		}
	}
}
