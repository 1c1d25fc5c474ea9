package torture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"reseal/internal/test/testkit"
)

// simTable is a table in memory that remembers every version of its items, so that it can be read as it was a while ago.
type simTable struct {
	name string
	spec testkit.TableSpec
	salt uint64 // of the order of its items
	made time.Time

	mu    sync.Mutex
	rows  map[string]*row // by the key's text
	order []*row          // by place and text
}

// row is a key and what the table has held for it.
type row struct {
	key      attrs
	text     string
	place    uint32
	versions []version
}

// version is what a key holds from a time on; a nil item is none.
type version struct {
	from time.Time
	item attrs
	by   string // who wrote it
}

func newSimTable(name string, spec testkit.TableSpec, salt uint64, made time.Time) *simTable {
	return &simTable{name: name, spec: spec, salt: salt, made: made, rows: map[string]*row{}}
}

func (r *row) at(when time.Time) attrs {
	for i := len(r.versions) - 1; i >= 0; i-- {
		if !r.versions[i].from.After(when) {
			return r.versions[i].item
		}
	}
	return nil
}

func byPlace(a, b *row) int {
	return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.text, b.text))
}

// set writes an item, or deletes it where item is nil.
func (tb *simTable) set(key, item attrs, now time.Time, by string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	id := text(key)
	r := tb.rows[id]
	if r == nil {
		r = &row{key: key, text: id, place: placeOf(tb.salt, id)}
		tb.rows[id] = r
		at, _ := slices.BinarySearchFunc(tb.order, r, byPlace)
		tb.order = slices.Insert(tb.order, at, r)
	}
	r.versions = append(r.versions, version{now, item, by})
}

// get reads an item as it was at a time.
func (tb *simTable) get(key attrs, when time.Time) attrs {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if r := tb.rows[text(key)]; r != nil {
		return r.at(when)
	}
	return nil
}

// item is what the table holds now, for a key's text.
func (tb *simTable) item(key string) attrs {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if r := tb.rows[key]; r != nil {
		return r.at(time.Now())
	}
	return nil
}

// expire deletes the items of which the condition holds, and returns their keys.
func (tb *simTable) expire(condition func(key string, item attrs) bool) (keys []string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for id, r := range tb.rows {
		if item := r.at(time.Now()); item != nil && condition(id, item) {
			r.versions = append(r.versions, version{time.Now(), nil, "time to live"})
			keys = append(keys, id)
		}
	}
	return keys
}

// had tells whether there was an item since a time of which the condition holds.
func (tb *simTable) had(since time.Time, condition func(item attrs) bool) bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, r := range tb.rows {
		for i, v := range r.versions {
			isOver := i+1 < len(r.versions) && r.versions[i+1].from.Before(since)
			if !isOver && condition(v.item) {
				return true
			}
		}
	}
	return false
}

// page reads up to most items of a segment after a key; when tells how old what is seen of a key is. last is where the page ends,
// nil where the segment does.
func (tb *simTable) page(segment, segments int, after attrs, most int, when func() time.Time) (items []attrs, last attrs) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	from, to := uint64(segment)<<32/uint64(segments), uint64(segment+1)<<32/uint64(segments)
	start := row{place: uint32(from)}
	if after != nil {
		id := text(after)
		start = row{place: placeOf(tb.salt, id), text: id}
	}
	at, found := slices.BinarySearchFunc(tb.order, &start, byPlace)
	if found {
		at++
	}
	for _, r := range tb.order[at:] {
		if uint64(r.place) >= to {
			break
		}
		if len(items) == most {
			return items, last
		}
		if item := r.at(when()); item != nil {
			items = append(items, item)
			last = r.key
		}
	}
	return items, nil
}

// contents is the table as text by key, as testkit.Contents has it.
func (tb *simTable) contents(when time.Time) map[string]string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	all := map[string]string{}
	for id, r := range tb.rows {
		if item := r.at(when); item != nil {
			all[id] = text(item)
		}
	}
	return all
}

// describe is what DescribeTable answers, as JSON.
func (tb *simTable) describe(stream *simStream) map[string]any {
	description := map[string]any{
		"TableName": tb.name, "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/" + tb.name, "TableId": "id of " + tb.name,
		"TableStatus": "ACTIVE", "CreationDateTime": tb.made.Unix(), "ItemCount": 0, "TableSizeBytes": 0,
		"SSEDescription": map[string]any{"Status": "ENABLED", "SSEType": "KMS"},
		"WarmThroughput": map[string]any{"ReadUnitsPerSecond": 1_000_000, "WriteUnitsPerSecond": 1_000_000},
	}
	var definitions, schema []any
	for i, attribute := range []string{tb.spec.Hash, tb.spec.Range} {
		if name, kind, is := strings.Cut(attribute, ":"); is {
			definitions = append(definitions, map[string]string{"AttributeName": name, "AttributeType": kind})
			schema = append(schema, map[string]string{"AttributeName": name, "KeyType": []string{"HASH", "RANGE"}[i]})
		}
	}
	description["AttributeDefinitions"], description["KeySchema"] = definitions, schema
	if stream != nil {
		description["LatestStreamArn"], description["LatestStreamLabel"] = stream.arn, stream.label
	}
	if stream != nil && !stream.disabled.Load() {
		description["StreamSpecification"] = map[string]any{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}
	}
	return description
}

// differences tells, by key, in what a target differs from its source: "missing", "extra" or "different". It is the judge, and
// shares no code with reseal.
func differences(source, target map[string]string) map[string]string {
	found := map[string]string{}
	for key, item := range source {
		switch other, is := target[key]; {
		case !is:
			found[key] = "missing"
		case other != item:
			found[key] = "different"
		}
	}
	for key := range target {
		if _, is := source[key]; !is {
			found[key] = "extra"
		}
	}
	return found
}

// someOf tells of differences, for a message.
func someOf(found map[string]string) string {
	lines := make([]string, 0, len(found))
	for key, kind := range found {
		lines = append(lines, kind+" "+key)
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d: %q", len(lines), lines[:min(len(lines), 5)])
}
