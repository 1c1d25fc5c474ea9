package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"reseal/verify"
)

// PageHead is what a page says of its run from the beginning.
type PageHead struct {
	Source, Target string
	Started        time.Time
}

// Page collects the differences of a verification and writes them, with its result, as one HTML page that needs nothing else: no
// network, no other file. Its content security policy forbids any script and style but its own, so that nothing that a table holds
// can do anything. It keeps pageKind differences of each kind at the most, and says so, so its memory and the page are bounded. It
// isn't safe for concurrent use.
type Page struct {
	head  PageHead
	rows  []*pageRow
	byKey map[string]*pageRow // by Key.ID
	shown map[verify.Kind]int
	seen  map[verify.Kind]int64
	bytes int
}

const (
	pageKind       = 500     // differences of each kind
	pageBytes      = 8 << 20 // of text of all differences
	pageAttributes = 50      // of one difference
	pageText       = 1000    // bytes of a value
)

// NewPage returns a page without differences.
func NewPage(head PageHead) *Page {
	return &Page{head: head, byKey: map[string]*pageRow{}, shown: map[verify.Kind]int{}, seen: map[verify.Kind]int64{}}
}

// pageRow is a difference as the page shows it.
type pageRow struct {
	Kind           verify.Kind
	Key            string
	Attributes     []pageAttribute
	MoreAttributes int
	HasValues      bool
	SourceDigest   string
	TargetDigest   string
	FirstSeen      string
	LastSeen       string
	LastChanged    string // "": not known
	mended         string // when it was seen to agree again; "": it wasn't
	repair         verify.Action
	wouldRepair    verify.Action
	notRepaired    bool
	segments       [2]int // of the source and the target, where the Scan found the item; -1: it didn't
}

// pageAttribute is an attribute that differs. What a table hasn't is nil.
type pageAttribute struct {
	Name           string
	Source, Target *string
}

// Add takes in a difference.
func (p *Page) Add(d verify.Difference) error {
	if row := p.byKey[d.Key.ID()]; row != nil && (d.Kind == verify.Mended || row.mended != "") {
		row.mended = ""
		if d.Kind == verify.Mended {
			row.mended = moment(d.LastSeen)
			return nil
		}
		row.LastSeen, row.LastChanged = moment(d.LastSeen), momentIfKnown(d.LastChanged) // it differs again
		p.seen[d.Kind]++
		return nil
	}
	if d.Kind == verify.Mended {
		return nil // of one that had no room
	}
	if d.AfterRepair {
		if row := p.byKey[d.Key.ID()]; row != nil {
			row.notRepaired = true
		}
		return nil
	}
	p.seen[d.Kind]++
	if p.shown[d.Kind] >= pageKind || p.bytes >= pageBytes {
		return nil
	}
	row, err := rowOf(d)
	if err != nil {
		return err
	}
	p.shown[d.Kind]++
	p.bytes += row.size()
	p.rows = append(p.rows, row)
	p.byKey[d.Key.ID()] = row
	return nil
}

func rowOf(d verify.Difference) (*pageRow, error) {
	key, err := d.Key.JSON()
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	row := &pageRow{
		Kind: d.Kind, Key: key, SourceDigest: d.SourceDigest, TargetDigest: d.TargetDigest,
		FirstSeen: moment(d.FirstSeen), LastSeen: moment(d.LastSeen), LastChanged: momentIfKnown(d.LastChanged),
		HasValues: d.SourceValues != nil || d.TargetValues != nil,
		repair:    d.Repair, wouldRepair: d.WouldRepair, segments: segmentsOf(d),
	}
	return row, row.takeAttributes(d)
}

// segmentsOf are the segments in which the Scans of both tables found the item; -1 where one didn't.
func segmentsOf(d verify.Difference) [2]int {
	found := [2]int{-1, -1}
	for side, ofTarget := range []bool{false, true} {
		if segment, is := d.Segment(ofTarget); is {
			found[side] = segment
		}
	}
	return found
}

func (row *pageRow) takeAttributes(d verify.Difference) error {
	source, err := texts(d.SourceValues)
	if err != nil {
		return err
	}
	target, err := texts(d.TargetValues)
	if err != nil {
		return err
	}
	names := d.Attributes
	if len(names) == 0 { // one table hasn't the item
		names = slices.Sorted(maps.Keys(source))
		names = append(names, slices.Sorted(maps.Keys(target))...) // one of them is empty
	}
	row.MoreAttributes = max(0, len(names)-pageAttributes)
	for _, name := range names[:len(names)-row.MoreAttributes] {
		row.Attributes = append(row.Attributes, pageAttribute{Name: shorten(name), Source: source[name], Target: target[name]})
	}
	return nil
}

// texts takes apart an object of DynamoDB JSON.
func texts(values json.RawMessage) (map[string]*string, error) {
	if values == nil {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(values, &object); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	list := make(map[string]*string, len(object))
	for name, value := range object {
		text := shorten(string(value))
		list[name] = &text
	}
	return list, nil
}

// shorten cuts a text that is too long for a page, and says so.
func shorten(text string) string {
	if len(text) <= pageText {
		return text
	}
	end := pageText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s … (%s bytes in all)", text[:end], humanize.Comma(int64(len(text))))
}

func (row *pageRow) size() int {
	size := len(row.Key)
	for _, a := range row.Attributes {
		size += len(a.Name)
		for _, text := range []*string{a.Source, a.Target} {
			if text != nil {
				size += len(*text)
			}
		}
	}
	return size
}
