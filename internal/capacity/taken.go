package capacity

import "math"

// Who chose a limit: the values of Taken.By.
const (
	ByUser    = "user"    // the units, or the share, that were asked for
	ByDefault = "default" // 80 % of what is provisioned
	ByTable   = "table"   // what a table on demand turned out to serve
	ByNobody  = "none"    // there is no limit
)

// Taken tells how much of a table's capacity a limiter allowed itself. All rates are in units a second.
//
// A limiter slows down for those with whom it shares the table: at a throttled request it sends nothing for a second, then goes on at
// half of its rate, and comes back by a quarter of a percent of its limit each second. (One that writes to a table on demand only
// goes a little below what that serves.)
type Taken struct {
	Limit  float64 `json:"limit"`  // the most; of what a table on demand serves, the highest rate that there was; 0: no limit
	By     string  `json:"by"`     // who chose it: "user", "default", "table" or "none"
	Lowest float64 `json:"lowest"` // the lowest rate that there was, because requests were throttled or because it began there
	Slowed int64   `json:"slowed"` // how often it slowed down
}

// Taken tells how much it has allowed itself so far.
func (l *Limiter) Taken() Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		return Taken{By: ByNobody}
	}
	taken := Taken{Limit: l.adapt.most, By: l.by, Lowest: l.adapt.lowest, Slowed: l.adapt.slowed}
	if math.IsInf(taken.Limit, 1) {
		taken.Limit = l.adapt.highest
	}
	return taken
}
