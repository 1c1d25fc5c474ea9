package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"reseal/verify"

	"github.com/dustin/go-humanize"
)

//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

//go:embed page/page.js
var pageJS string

// pageTemplate escapes whatever comes from a table by where it stands.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"comma": humanize.Comma, "units": units}).Parse(pageHTML))

func units(u float64) string { return humanize.CommafWithDigits(u, 1) }

// The states of a page, which its style goes by.
const (
	statePassed     = "passed"
	stateFailed     = "failed"
	stateSample     = "sample"
	stateIncomplete = "incomplete"
)

// pageView is what the template takes.
type pageView struct {
	PageHead
	Style                 template.CSS
	Script                template.JS
	StyleHash, ScriptHash string

	State   string
	Verdict string
	Failure string
	Written string
	Result  *verify.Result
	Kinds   []pageKindView
	Rows    []pageRowView
	Cut     bool
	Most    int
	Maps    []pageMapView
}

// pageKindView is a kind of differences: its count, and how many of them are in the page.
type pageKindView struct {
	Kind  verify.Kind
	Name  string
	Count int64
	Shown int
}

type pageRowView struct {
	*pageRow
	KindName string
	Cells    [2]int // of the map, by origin; -1: none
	Where    string

	Repaired    string // or not; "": there was no repair
	NotRepaired bool
}

type pageMapView struct {
	Side  string
	Few   bool
	Cells []pageCellView
}

type pageCellView struct {
	verify.Cell
	Label string
	Class string
}

// sides are the tables' names in rows and cells.
var sides = [2]string{"source", "target"}

var kindNames = map[verify.Kind]string{verify.Missing: "missing", verify.Extra: "extra", verify.Different: "different", verify.StillChanging: "still changing", verify.Unsettled: "unsettled"}

// Write writes the page of a verification that ended with a result, or failed. With neither it says that the verification has not
// ended. Whatever is not the whole result is marked as such.
func (p *Page) Write(w io.Writer, result *verify.Result, failure error) error {
	v := pageView{
		PageHead: p.head, Style: template.CSS(pageCSS), Script: template.JS(pageJS), //nolint:gosec // they are ours
		StyleHash: policyHash(pageCSS), ScriptHash: policyHash(pageJS),
		Written: time.Now().UTC().Format("2006-01-02 15:04:05 UTC"), Most: pageKind,
	}
	var segments *verify.SegmentMap
	switch {
	case failure != nil:
		v.State, v.Failure = stateIncomplete, failure.Error()
		v.Verdict = "INCOMPLETE: the verification failed. Nothing can be said of the tables."
	case result == nil:
		v.State = stateIncomplete
		v.Verdict = "NOT FINISHED: this verification is still running, or was ended from outside. Nothing can be said of the tables."
	default:
		v.State, v.Verdict, v.Result = pageState(*result), result.Verdict(), result
		segments = result.Map
	}
	v.Maps = mapViews(segments)
	v.Kinds, v.Cut = p.kinds()
	v.Rows = p.rowViews(segments, v.Result != nil)
	if err := pageTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func pageState(r verify.Result) string {
	switch {
	case r.Sample != nil && r.Sample.Passed:
		return stateSample
	case r.Passed:
		return statePassed
	}
	return stateFailed
}

// policyHash names a script or style in a content security policy.
func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// kinds also tells whether the page has not all differences.
func (p *Page) kinds() (list []pageKindView, cut bool) {
	for _, kind := range []verify.Kind{verify.Missing, verify.Extra, verify.Different, verify.StillChanging} {
		list = append(list, pageKindView{kind, kindNames[kind], p.seen[kind], p.shown[kind]})
		cut = cut || p.seen[kind] > int64(p.shown[kind])
	}
	if n := p.seen[verify.Unsettled]; n > 0 { // only a run that followed has them
		list = append(list, pageKindView{verify.Unsettled, kindNames[verify.Unsettled], n, p.shown[verify.Unsettled]})
		cut = cut || n > int64(p.shown[verify.Unsettled])
	}
	return list, cut
}

// rowViews sorts the rows by key, which is no order of the table's but one in which people find a key.
func (p *Page) rowViews(segments *verify.SegmentMap, ended bool) []pageRowView {
	list := make([]pageRowView, len(p.rows))
	for i, row := range p.rows {
		view := pageRowView{pageRow: row, KindName: kindNames[row.Kind], Cells: [2]int{-1, -1}}
		view.Repaired, view.NotRepaired = row.repaired(ended)
		var where []string
		for side, segment := range row.segments {
			if segment < 0 {
				continue
			}
			where = append(where, fmt.Sprintf("%s segment %d", sides[side], segment))
			if segments != nil {
				view.Cells[side] = segments.CellOf(segment)
			}
		}
		view.Where = strings.Join(where, ", ")
		list[i] = view
	}
	slices.SortFunc(list, func(a, b pageRowView) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// repaired says what is known of the item's repair.
func (row *pageRow) repaired(ended bool) (text string, not bool) {
	done := "written"
	if row.repair == verify.Delete || row.wouldRepair == verify.Delete {
		done = "deleted"
	}
	switch {
	case row.mended != "":
		return "agrees since " + row.mended, false
	case row.wouldRepair != "":
		return "would be " + done, false
	case row.repair == "":
		return "", false
	case row.notRepaired:
		return "not repaired", true
	case !ended: // it may have been, and was not looked at again
		return "to be " + done + ", not known whether it was", true
	}
	return done + " by the repair", false
}

// fewCells have room for a number in each.
const fewCells = 32

func mapViews(segments *verify.SegmentMap) []pageMapView {
	if segments == nil {
		return nil
	}
	var list []pageMapView
	most := int64(1)
	for _, cells := range [][]verify.Cell{segments.Source, segments.Target} {
		for _, cell := range cells {
			most = max(most, cell.Items)
		}
	}
	for side, cells := range [][]verify.Cell{segments.Source, segments.Target} {
		view := pageMapView{Side: sides[side], Few: len(cells) <= fewCells}
		for _, cell := range cells {
			view.Cells = append(view.Cells, cellView(cell, most))
		}
		list = append(list, view)
	}
	return list
}

// cellView says in words and shade how much there is in a cell. The shades of items are in proportion to the fullest cell, those of
// differences by powers of ten: one is to be seen as well as a thousand.
func cellView(c verify.Cell, most int64) pageCellView {
	view := pageCellView{Cell: c, Label: fmt.Sprintf("%s: %s items, %s differences", c.Name(), humanize.Comma(c.Items), humanize.Comma(c.Differences))}
	switch {
	case c.Compared == 0:
		view.Label, view.Class = c.Name()+": not in the sample", "out"
	case c.Differences > 0:
		view.Class = fmt.Sprintf("d%d", min(4, len(strconv.FormatInt(c.Differences, 10))))
	default:
		view.Class = fmt.Sprintf("i%d", (4*c.Items+most-1)/most)
	}
	return view
}
