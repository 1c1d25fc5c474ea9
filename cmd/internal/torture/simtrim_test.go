package torture

import (
	"time"
)

// downtimes has the replicator down for hours, up to three times, while the application writes now and then and shards split. Between two
// of them it runs for a short while, in which it may apply all that there is, some of it, or nothing. The stream keeps records
// for 24 hours. So it either applies all, or it has to end with an error.
func (w *simWorld) downtimes() {
	if w.plan.twist != trims {
		return
	}
	random := dice(w.plan.seed, "downtimes", 0)
	for n := range 1 + random.IntN(3) {
		if n > 0 {
			p := w.newProcess(replicator, w.checkpoint(replicator))
			how := oneOf(random, byItself, killed, stopped)
			if how == killed {
				p.killAfter(1 + random.IntN(8))
			}
			w.once(p, how, between(random, 0, 30*time.Second), w.tail(10*time.Second, w.ctx))
		}
		w.downFor(between(random, time.Hour, oneOf(random, 3*time.Hour, 14*time.Hour, 26*time.Hour)), n)
		if w.ctx.Err() != nil {
			return
		}
	}
}

func (w *simWorld) downFor(down time.Duration, n int) {
	random := dice(w.plan.seed, "downtime", n)
	w.count("downtime of the replicator")
	events := random.IntN(20)
	for i := range events {
		time.Sleep(between(random, 0, 2*down/time.Duration(events+1)))
		if chance(random, 0.2) {
			w.splitShard(random)
		} else {
			w.apply(w.change(random, 100*n+i))
		}
	}
	time.Sleep(between(random, 0, down/4))
}

// seedAtFirst seeds. A seed that is to wait is ended soon.
func (w *simWorld) seedAtFirst() {
	if !w.plan.seedWaits {
		w.seed()
		return
	}
	random := dice(w.plan.seed, "seed that waits", 0)
	p, how := w.newProcess(seeder, w.checkpoint(seeder)), oneOf(random, killed, stopped)
	if how == killed {
		p.killAfter(1 + random.IntN(25))
	}
	w.once(p, how, between(random, 0, 25*time.Second), w.copyAll)
}

// seedAtLast has a seed that waits go on: beside a replicator that has fallen behind, or that finds out what it has missed.
func (w *simWorld) seedAtLast() {
	if w.plan.seedWaits && w.ctx.Err() == nil {
		w.count("seed that has waited")
		w.seed()
	}
}
