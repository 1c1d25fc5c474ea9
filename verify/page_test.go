package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/verify"
	"reseal/verify/report"
)

// hostile are texts that would do something in a page that doesn't escape them. What they would do is set document.title.
var hostile = []string{
	`<script>document.title="hacked"</script>`,
	`"><img src=x onerror='document.title="hacked"'>`,
	`</summary></details></code><svg onload=document.title="hacked">`,
	`' onmouseover='document.title="hacked"`,
	`</script><script>document.title="hacked"</script>`,
	`</style><style>body{display:none}</style>`,
	`javascript:document.title="hacked"`,
	`{{.}} ${document.title="hacked"} &lt;b&gt; ` + "\u2028\u0000\u202e",
}

// pageDifferences are many of each kind, with hostile keys, names and values.
func pageDifferences(t *testing.T, each int) []difference {
	t.Helper()
	schema := item.Schema{Hash: item.KeyAttribute{Name: hostile[0], Type: "S"}, Range: item.KeyAttribute{Name: "n", Type: "N"}}
	var list []difference
	start := time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)
	for k, kind := range []verify.Kind{verify.Missing, verify.Extra, verify.Different, verify.StillChanging} {
		for i := range each {
			text := fmt.Sprintf("customer-%04d", i)
			if i < len(hostile) {
				text = hostile[i]
			}
			key, err := schema.KeyOf(item.Of(attrs{hostile[0]: str(text), "n": num(fmt.Sprint(k))}))
			if err != nil {
				t.Fatal(err)
			}
			d := difference{
				Key: key, Kind: kind, SourceDigest: strings.Repeat("0a", 32), TargetDigest: strings.Repeat("b1", 32),
				FirstSeen: start, LastSeen: start.Add(30 * time.Second),
				SourceValues: object2(t, "address", text, "plan", "gold"), TargetValues: object2(t, "address", "Main St 1", "plan", "free"),
				Attributes: []string{"address", "plan"},
			}
			switch kind {
			case verify.Missing:
				d.TargetDigest, d.TargetValues, d.Attributes = "", nil, nil
			case verify.Extra:
				d.SourceDigest, d.SourceValues, d.Attributes = "", nil, nil
			default:
				if i < len(hostile) {
					d.Attributes = append(d.Attributes, text)
				}
			}
			list = append(list, d)
		}
	}
	return list
}

func object2(t *testing.T, kv ...string) json.RawMessage {
	t.Helper()
	values := map[string]map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		values[kv[i]] = map[string]string{"S": kv[i+1]}
	}
	return json.RawMessage(mustJSON(t, values))
}

var pageHead = report.PageHead{Source: "customers", Target: "customers-encrypted", Started: time.Date(2026, 11, 25, 2, 29, 0, 0, time.UTC)}

// pageResult is a result with something of everything.
func pageResult(segments int) verify.Result {
	r := verify.Result{
		Source: "customers", Target: "customers-encrypted", SourceItems: 1_204_511, TargetItems: 1_204_498,
		Missing: 20, Extra: 20, Different: 20, StillChanging: 20, Settled: 431, ReadUnits: 48_211.5, ElapsedSeconds: 93.4, Throttled: 3,
		SourceExpired: 12, TargetExpired: 9, Encryption: "KMS",
		SourceFingerprint: strings.Repeat("0123456789abcdef", 4), TargetFingerprint: strings.Repeat("fedcba9876543210", 4),
		Settings: []verify.Setting{
			{What: "keys", Source: "id (S, hash)", Target: "id (S, hash)"},
			{What: "global secondary indexes", Source: "byCity (city S HASH) ALL, on demand", Target: "none", Consequence: "Queries of these indexes fail on the target, until they are added and filled."},
			{What: "encryption", Source: "AWS_OWNED", Target: "KMS, key arn:aws:kms:eu-west-1:111122223333:key/0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0", Expected: true, Consequence: "Whoever reads or writes the target must be allowed to use the key, and nobody can while it is disabled."},
			{What: "tags", Source: hostile[1], Target: "none", Consequence: "Cost reports, and policies that go by tags, treat the target otherwise."},
			{What: "point-in-time recovery", Source: "not checked", Target: "off", Consequence: "It is not known whether they are the same: allow dynamodb:DescribeContinuousBackups, or compare them yourself."},
			{What: "billing", Source: "on demand", Target: "on demand"},
		},
		Map: &verify.SegmentMap{Segments: segments},
	}
	for i := range segments {
		cell := verify.Cell{First: i, Last: i, Compared: 1, Items: int64(60_000 + 20_000*(i%5))}
		other := cell
		if i%5 == 3 {
			cell.Differences, other.Differences = []int64{1, 14, 230, 4100}[i/5%4], 1
		}
		r.Map.Source, r.Map.Target = append(r.Map.Source, cell), append(r.Map.Target, other)
	}
	return r
}

func writePage(t *testing.T, list []difference, result *verify.Result, failure error) string {
	t.Helper()
	page := report.NewPage(pageHead)
	for _, d := range list {
		if err := page.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := page.Write(&out, result, failure); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// kindCount is the number of differences that the page shows of each kind.
func kindCount(page string, kind verify.Kind) int {
	return strings.Count(page, fmt.Sprintf(`<details class="row %s"`, kind))
}

// The page says of each state what it is. What isn't a whole result can't be taken for one.
func TestPageStates(t *testing.T) {
	t.Parallel()
	match := pageResult(4)
	match.Match, match.Passed, match.Missing, match.Extra, match.Different, match.StillChanging = true, true, 0, 0, 0, 0
	sample := pageResult(4)
	sample.Sample = &verify.Sample{Segments: 4, TotalSegments: 16, Match: true, Passed: true}
	failed := pageResult(4)
	broken := errors.New(`scan <b>source</b>: not for you`)
	for _, one := range []struct {
		name, page  string
		class       string
		has, hasNot []string
	}{
		{
			"match", writePage(t, nil, &match, nil), "passed",
			[]string{"<h1>MATCH: both tables", "1,204,511", "global secondary indexes"},
			[]string{"INCOMPLETE", "NOT FINISHED", "NO MATCH"},
		},
		{
			"no match", writePage(t, pageDifferences(t, 1), &failed, nil), "failed",
			[]string{"<h1>NO MATCH: "},
			[]string{"INCOMPLETE", ">MATCH"},
		},
		{
			"sample", writePage(t, nil, &sample, nil), "sample",
			[]string{"<h1>SAMPLE MATCHED", "The rest was not compared", "None in the sample."},
			[]string{">MATCH"},
		},
		{
			"running", writePage(t, nil, nil, nil), "incomplete",
			[]string{"<h1>NOT FINISHED", "does not mean that there are none"},
			[]string{"MATCH", "source fingerprint"},
		},
		{
			"broken", writePage(t, pageDifferences(t, 1), nil, broken), "incomplete",
			[]string{"<h1>INCOMPLETE", "scan &lt;b&gt;source", "There may be more."},
			[]string{"MATCH", "<b>source</b>:", "source fingerprint"},
		},
	} {
		if !strings.Contains(one.page, fmt.Sprintf("<body class=%q>", one.class)) {
			t.Errorf("%s: not of the class %s", one.name, one.class)
		}
		for _, text := range one.has {
			if !strings.Contains(one.page, text) {
				t.Errorf("%s: %q is not in it", one.name, text)
			}
		}
		for _, text := range one.hasNot {
			if strings.Contains(one.page, text) {
				t.Errorf("%s: %q is in it", one.name, text)
			}
		}
	}
}

// However many and large the differences are, the page isn't, and it says what it hasn't.
func TestPageIsBounded(t *testing.T) {
	t.Parallel()
	r := pageResult(256)
	page := writePage(t, pageDifferences(t, 501), &r, nil)
	for _, kind := range []verify.Kind{verify.Missing, verify.Extra, verify.Different, verify.StillChanging} {
		if n := kindCount(page, kind); n != 500 {
			t.Errorf("%d %s", n, kind)
		}
	}
	if !strings.Contains(page, `id="cut"`) || !strings.Contains(page, "the first 500 of each kind") || !strings.Contains(page, "<b>501</b>") {
		t.Error("it doesn't say that some are left out")
	}
	if page = writePage(t, pageDifferences(t, 10), &r, nil); strings.Contains(page, `id="cut"`) {
		t.Error("it says that some are left out, though none is")
	}

	large := pageDifferences(t, 60)
	values := map[string]map[string]string{}
	for i := range 55 {
		values[fmt.Sprintf("attribute-%03d", i)] = map[string]string{"S": strings.Repeat("é", 2000)}
	}
	text := json.RawMessage(mustJSON(t, values))
	for i := range large {
		large[i].Attributes = nil
		if large[i].TargetValues != nil {
			large[i].TargetValues = text
		}
	}
	page = writePage(t, large, &r, nil)
	if len(page) > 20<<20 || !strings.Contains(page, `id="cut"`) || !strings.Contains(page, "… (4,008 bytes in all)") || !strings.Contains(page, "and 5 attributes more") {
		t.Errorf("%d bytes: %.3000s", len(page), page[strings.Index(page, "h-differences"):])
	}
	if strings.Contains(page, "\ufffd") {
		t.Error("a character is cut in two")
	}
}

// What a repair did is said of each item, and what it did not.
func TestPageOfARepair(t *testing.T) {
	t.Parallel()
	list := pageDifferences(t, 10)[9:12] // the last missing one and the first two extra ones
	list[0].Repair, list[1].Repair, list[2].WouldRepair = verify.Put, verify.Delete, verify.Delete
	again := list[1]
	again.Repair, again.AfterRepair = "", true
	r := pageResult(4)
	page := writePage(t, append(list, again), &r, nil)
	for text, want := range map[string]int{
		"written by the repair": 1, "deleted by the repair": 0, "would be deleted": 1, "not repaired": 1, `<details class="row`: 3,
	} {
		if got := strings.Count(page, text); got != want {
			t.Errorf("%q is %d times in it, want %d", text, got, want)
		}
	}
	// Where the run broke off, nobody knows.
	page = writePage(t, list, nil, errFull)
	for text, want := range map[string]int{
		"by the repair": 0, "to be written, not known whether it was": 1, "to be deleted, not known whether it was": 1, "would be deleted": 1,
	} {
		if got := strings.Count(page, text); got != want {
			t.Errorf("broken off: %q is %d times in it, want %d", text, got, want)
		}
	}
}

// A page that can't be written, and a difference that can't be shown, are errors.
func TestPageFails(t *testing.T) {
	t.Parallel()
	if err := report.NewPage(pageHead).Write(full{}, nil, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := report.NewPage(pageHead).Add(difference{Kind: verify.Missing}); err == nil {
		t.Error("a difference without a key is taken")
	}
}

// The page of a verification that followed says what is open, how far the stream was read, and what differed and agrees by now.
func TestPageOfAFollowingRun(t *testing.T) {
	t.Parallel()
	result := pageResult(4)
	result.SourceFingerprint, result.TargetFingerprint = "", ""
	result.Following = &verify.Following{
		Open: 1234, OldestOpenSeconds: 12.3, LookedAt: 56_789, FollowedRecords: 98_765, Unsettled: 1, Mended: 1,
		FollowedSince: "2026-11-25T02:30:00Z", FollowedUntil: "2026-11-25T04:30:00Z",
	}
	list := pageDifferences(t, 1)
	changed := time.Date(2026, 11, 25, 3, 4, 5, 0, time.UTC)
	list[0].LastChanged = changed
	mended, unsettled := list[0], list[3]
	mended.Kind, mended.LastSeen = verify.Mended, changed.Add(time.Minute)
	unsettled.Kind = verify.Unsettled
	page := writePage(t, append(list[:3], mended, unsettled), &result, nil)
	for _, want := range []string{
		"<dt>open</dt><dd>1,234</dd>", "12.3 s before the end", "<dd>98,765</dd>", "56,789 keys looked at", "<dt>caught up</dt><dd>no</dd>",
		"each change from 2026-11-25T02:30:00Z to 2026-11-25T04:30:00Z was followed", "<dt>last changed</dt><dd>2026-11-25T03:04:05.000Z", "agrees since 2026-11-25T03:05:05.000Z",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in it", want)
		}
	}
	if strings.Contains(page, "fingerprint") || strings.Contains(page, "when the scans began") || kindCount(page, verify.Unsettled) != 1 {
		t.Error("it has fingerprints, or the time of the scans, or no row of what is unsettled")
	}
}
