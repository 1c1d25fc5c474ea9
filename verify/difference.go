package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"reseal/internal/item"
)

// Kind is the kind of a difference.
type Kind string

// The kinds of differences.
const (
	Missing       Kind = "missing"
	Extra         Kind = "extra"
	Different     Kind = "different"
	StillChanging Kind = "still_changing"
	// Mended is said of an item that was told as a difference, and agrees now without a repair of ours: with Follow only.
	Mended Kind = "mended"
	// Unsettled is said at the end of an item that differed when it was last looked at, so soon after its last change that replication may
	// be under way: likewise.
	Unsettled Kind = "unsettled"
)

// Action is what a repair does to an item of the target.
type Action string

// The actions of a repair.
const (
	Put    Action = "put"
	Delete Action = "delete"
)

// Difference is one item that is not the same in both tables.
type Difference struct {
	Key          item.Key
	Kind         Kind
	Attributes   []string // names of the attributes that differ, where both tables have the item
	SourceDigest string   // hexadecimal SHA-256 of the canonical encoding; "" where the table hasn't the item
	TargetDigest string
	FirstSeen    time.Time // when both tables were first read for it, with ConsistentRead, and differed
	LastSeen     time.Time // when they were read last
	LastChanged  time.Time // when the source's item was changed last, by its last stream record; zero: not known, as always without Follow

	// SourceValues and TargetValues are, with ShowValues, the attributes that differ as a DynamoDB-JSON object; of an item that only
	// one table has all of them. nil where the table hasn't the item.
	SourceValues, TargetValues json.RawMessage

	Repair      Action // what the repair is about to do; "" without Repair
	WouldRepair Action // likewise, where DryRun keeps it from that
	AfterRepair bool   // the item is reported a second time: it still differs after the repair
	Refused     string // with AfterRepair: why the target refused it, in the service's words; "": it didn't

	at seen
}

// Segment returns the segment in which the Scan of the source, or of the target, returned the item; false if it didn't.
func (d Difference) Segment(ofTarget bool) (int, bool) {
	if ofTarget {
		return d.at.segment(fromTarget)
	}
	return d.at.segment(fromSource)
}

// difference describes a candidate that doesn't agree, by what was last read of it.
func (r *run) difference(c *candidate, kind Kind, source, target item.Item) (Difference, error) {
	d := Difference{
		Key: c.key, Kind: kind, SourceDigest: c.source.String(), TargetDigest: c.target.String(),
		FirstSeen: c.first, LastSeen: c.last, at: c.at,
	}
	var err error
	if c.source.exists && c.target.exists {
		if d.Attributes, err = item.DiffAttributes(source, target); err != nil {
			return d, err
		}
	}
	if r.options.ShowValues {
		if d.SourceValues, err = valuesOf(source, d.Attributes); err != nil {
			return d, err
		}
		if d.TargetValues, err = valuesOf(target, d.Attributes); err != nil {
			return d, err
		}
	}
	return d, nil
}

// valuesOf returns the named attributes that the item has as DynamoDB JSON, maps in order of their names; without names all of them.
func valuesOf(it item.Item, names []string) (json.RawMessage, error) {
	if it.Absent() {
		return nil, nil
	}
	var all map[string]any // there are no numbers in it: DynamoDB JSON has them as text
	if err := json.Unmarshal(it.JSON(), &all); err != nil {
		return nil, fmt.Errorf("show values: %w", err)
	}
	if len(names) > 0 {
		maps.DeleteFunc(all, func(name string, _ any) bool { return !slices.Contains(names, name) })
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("show values: %w", err)
	}
	return text, nil
}

// record counts and reports a difference.
func (r *run) record(d Difference) error {
	switch d.Kind {
	case Missing:
		r.result.Missing++
	case Extra:
		r.result.Extra++
	case Different:
		r.result.Different++
	case StillChanging:
		r.result.StillChanging++
	}
	r.places.addDifference(d.at)
	r.plan(&d)
	return r.tell(d)
}

// recordAgain reports a difference that outlasted the repair. It is counted already.
func (r *run) recordAgain(d Difference) error {
	d.AfterRepair = true
	return r.tell(d)
}

func (r *run) tell(d Difference) error {
	if r.options.Difference == nil {
		return nil
	}
	return r.options.Difference(d)
}
