package contract

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Tables is what is known of the tables of an engine, from the answers that went by. The zero value knows nothing.
type Tables struct {
	mu  sync.Mutex
	all map[string]*table // by scope and name
}

// table is what is known of one table.
type table struct {
	keys  []tableKey        // the partition key first
	types map[string]string // of the attributes of all keys, indexes' too

	mu   sync.Mutex
	last map[int]map[string]int // the segment in which a Scan of so many segments has ended a page at a key
}

type tableKey struct{ name, kind string }

// described is what is read of a table's description.
type described struct {
	TableName, TableStatus string
	KeySchema              []struct{ AttributeName, KeyType string }
	AttributeDefinitions   []struct{ AttributeName, AttributeType string }
}

// named returns the table of a name or ARN; nil if it isn't known.
func (t *Tables) named(scope, name string) *table {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[t.id(scope, name)]
}

func (t *Tables) id(scope, name string) string {
	if _, of, ok := strings.Cut(name, ":table/"); ok {
		name, _, _ = strings.Cut(of, "/")
	}
	return scope + "/" + name
}

// learn takes in what an answer says of a table.
func (t *Tables) learn(scope, operation string, answer []byte) {
	var out struct{ Table, TableDescription *described }
	if json.Unmarshal(answer, &out) != nil {
		return
	}
	d := out.Table
	if d == nil {
		d = out.TableDescription
	}
	if d == nil || len(d.KeySchema) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.id(scope, d.TableName)
	if operation == "DeleteTable" {
		delete(t.all, id)
		return
	}
	is := d.table()
	if was := t.all[id]; was != nil && operation != "CreateTable" && slices.Equal(was.keys, is.keys) {
		if maps.Equal(was.types, is.types) {
			return
		}
		is.last = was.pages()
	}
	if t.all == nil {
		t.all = map[string]*table{}
	}
	t.all[id] = is
}

func (d *described) table() *table {
	is := &table{types: map[string]string{}, last: map[int]map[string]int{}}
	for _, one := range d.AttributeDefinitions {
		is.types[one.AttributeName] = one.AttributeType
	}
	for _, one := range d.KeySchema {
		key := tableKey{one.AttributeName, is.types[one.AttributeName]}
		if one.KeyType == "HASH" {
			is.keys = append([]tableKey{key}, is.keys...)
		} else {
			is.keys = append(is.keys, key)
		}
	}
	return is
}

// pages returns a copy of what is noted.
func (t *table) pages() map[int]map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	pages := map[int]map[string]int{}
	for total, ends := range t.last {
		pages[total] = maps.Clone(ends)
	}
	return pages
}

// ended notes at which key a page of a segment ended.
func (t *table) ended(total, segment int, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last[total] == nil {
		t.last[total] = map[string]int{}
	}
	t.last[total][key] = segment
}

// segmentOf returns the segment in which a page ended at the key, if one did.
func (t *table) segmentOf(total int, key string) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	segment, ok := t.last[total][key]
	return segment, ok
}

// identity is the same for two keys only if DynamoDB takes them for one. ok is false if the key attributes aren't all there.
func (t *table) identity(of []attribute) (id string, ok bool) {
	var text strings.Builder
	for _, key := range t.keys {
		i := slices.IndexFunc(of, func(a attribute) bool { return a.name == key.name })
		if i < 0 {
			return "", false
		}
		value := string(of[i].text)
		if of[i].kind == "N" {
			value = canonical(of[i].text)
		}
		text.WriteString(of[i].kind)
		text.WriteByte(byte(len(value) >> 8))
		text.WriteByte(byte(len(value)))
		text.WriteString(value)
	}
	return text.String(), true
}
