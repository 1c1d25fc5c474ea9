package torture

import (
	"context"
	"time"

	"reseal/verify"
)

// verifyBeside verifies while everything goes on. What it finds is true of no time in particular, but it must come to an end.
func (w *simWorld) verifyBeside() {
	file := w.checkpoint(live)
	w.keep(live, file, true, func(ctx context.Context, p *process) error {
		_, err := w.verify(ctx, p, file, false)
		return err
	})
}

// verdict is what a verification has found.
type verdict struct {
	match, resumed bool
	found          map[string]string // differences, by key
}

func (w *simWorld) verify(ctx context.Context, p *process, checkpoint string, repair bool) (verdict, error) {
	found := map[string]string{}
	result, err := verify.Run(ctx, verify.Options{
		Source: p.open(w.source), SourceTable: "source", Target: p.open(w.target), TargetTable: "target",
		Segments: w.plan.segments, MaxMemory: 1 << 14, Folder: w.folder, Settle: time.Second, Checkpoint: checkpoint, Restart: p.restart, Repair: repair,
		Difference: func(d verify.Difference) error {
			found[text(d.Key.Attributes())] = string(d.Kind)
			return nil
		},
	})
	isAll := len(found) == int(result.Repaired)
	if err == nil && (result.Match && !isAll || !result.Match && isAll && !result.Resumed) { // what goes on from a checkpoint may be no match for that alone
		w.t.Errorf("verify says match %t and finds %s", result.Match, someOf(found))
	}
	if err == nil && result.Match && result.SourceFingerprint != result.TargetFingerprint && p.role == verifier {
		w.t.Error("verify says match, with different fingerprints")
	}
	return verdict{match: result.Match, resumed: result.Resumed, found: found}, err
}

// mustFind runs a verification, which is disturbed too, and expects it to find exactly what there is. If it has gone on from a checkpoint,
// it is run once more, without one.
func (w *simWorld) mustFind(when string, want map[string]string) {
	file := w.checkpoint(verifier)
	var last verdict
	run := func(checkpoint string) func(context.Context, *process) error {
		return func(ctx context.Context, p *process) error {
			got, err := w.verify(ctx, p, checkpoint, false)
			if err == nil { // a second process at the same time may come to none
				last = got
			}
			return err
		}
	}
	begun := w.serviceTime()
	w.keep(verifier, file, true, run(file))
	w.compare(when, last, want, begun)
	if last.resumed && !last.match {
		w.keep(verifier, "", false, run(""))
		w.compare(when+", run again", last, want, begun)
		if last.match != (len(want) == 0) && !w.mayExpire(begun) {
			w.t.Errorf("verify%s, run again, says match %t, where %d items differ", when, last.match, len(want))
		}
	}
}

// compare compares what a verification has found since the given time with what there is.
func (w *simWorld) compare(when string, got verdict, want map[string]string, begun time.Time) {
	for key, kind := range want {
		if got.found[key] != kind && !w.expiresSince(key, begun) {
			w.t.Errorf("verify%s: %s is %s, found as %q", when, key, kind, got.found[key])
		}
	}
	for key, kind := range got.found {
		if want[key] == "" && !w.expiresSince(key, begun) {
			w.t.Errorf("verify%s: %s is equal, found as %s", when, key, kind)
		}
	}
}

// repair has verify put everything right.
func (w *simWorld) repair() {
	begun := w.serviceTime()
	w.keep(verifier, "", true, func(ctx context.Context, p *process) error {
		_, err := w.verify(ctx, p, "", true)
		return err
	})
	time.Sleep(lifetime)
	for key := range w.differences() {
		if !w.expiresSince(key, begun) {
			w.t.Errorf("after repair, the tables differ in %s", someOf(w.differences()))
			break
		}
	}
	w.count("repair")
}

// resumeOldVerify has a verification interrupted, then changes the target behind everyone's back, or the source without a replicator,
// and has the verification go on, now or long after. It must not say that nothing differs.
func (w *simWorld) resumeOldVerify() {
	random := dice(w.plan.seed, "old checkpoint", 0)
	file := w.checkpoint(verifier)
	p := w.newProcess(verifier, file)
	p.callsLeft = 2 + random.IntN(50)
	w.once(p, stopped, time.Hour, func(ctx context.Context, p *process) error {
		_, err := w.verify(ctx, p, file, false)
		return err
	})
	time.Sleep(oneOf(random, 0, between(random, 0, time.Hour), between(random, 0, 10*24*time.Hour)))
	switch random.IntN(4) {
	case 0: // everything is as it was
	case 1:
		for i, key := range w.plan.keys[:1+random.IntN(5)] {
			w.source.set(key, with(key, "later", number(i)), time.Now(), "application, not replicated")
			w.count("change that is not replicated")
		}
	default:
		for range w.plant() {
			w.count("planted loss")
		}
	}
	time.Sleep(w.plan.lag + time.Second)
	want := w.differences()
	var last verdict
	w.keep(verifier, file, false, func(ctx context.Context, p *process) (err error) {
		last, err = w.verify(ctx, p, file, false)
		return err
	})
	if last.match && len(want) > 0 {
		w.t.Errorf("verify went on from an old checkpoint and says match, though the tables differ in %s", someOf(want))
	}
	for key, kind := range last.found {
		if want[key] != kind {
			w.t.Errorf("verify went on from an old checkpoint and finds %s %s, which is %q", kind, key, want[key])
		}
	}
	w.count("old checkpoint")
	if last.resumed {
		w.count("old checkpoint resumed")
	}
}
