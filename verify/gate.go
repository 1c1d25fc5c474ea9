package verify

import (
	"fmt"
	"slices"

	"reseal/internal/refuse"

	"github.com/dustin/go-humanize"
)

// remains is what is left of the differences at the end, after a repair if there was one.
type remains struct {
	differing int64
	open      int64 // keys of which it isn't known, of a verification that followed
	changing  int64 // their source never stood still
	behind    bool  // the stream was not read to its end, likewise
}

func (r *remains) add(o remains) {
	r.differing += o.differing
	r.changing += o.changing
}

// remainsOf counts candidates that don't agree.
func remainsOf(list []*candidate) remains {
	var r remains
	for _, c := range list {
		if c.changing {
			r.changing++
		} else {
			r.differing++
		}
	}
	return r
}

// judge books the verdict. Items that never stood still are no match, whatever AllowChanging says: nobody has seen them agree. Neither is
// what goes on from a checkpoint: of what had matched by then, nobody has seen that it still does.
func (r *run) judge(left remains) {
	isFresh := r.result.AsOf == ""
	match := left == remains{} && isFresh
	passed := left.differing == 0 && left.open == 0 && !left.behind && (left.changing == 0 || r.options.AllowChanging) && len(r.result.Against()) == 0 && isFresh
	if sample := r.result.Sample; sample != nil {
		sample.Match, sample.Passed = match, passed
		return
	}
	r.result.Match, r.result.Passed = match, passed
}

// Against are the lines of the configuration that count against the tables: with Strict, those that differ, or could not be checked, and
// are not excepted.
func (r Result) Against() []Setting {
	if !r.Strict {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Configuration), func(s Setting) bool { return s.Expected })
}

// Verdict is the result in one sentence or two.
func (r Result) Verdict() string {
	of := ""
	if s := r.Sample; s != nil {
		of = fmt.Sprintf("in a sample of %s of %s segments (seed %d)", comma(s.Segments), comma(s.TotalSegments), s.Seed)
	}
	if r.AsOf != "" {
		return r.verdictAsOf(of)
	}
	if r.Following != nil {
		return r.verdictFollowing()
	}
	if s := r.Sample; s != nil {
		if s.Passed {
			return "SAMPLE MATCHED: nothing " + butChanging(s.Match) + "differs " + of + ". The rest was not compared."
		}
		return "NO MATCH: " + r.why() + ", " + of + "."
	}
	switch {
	case r.Passed && r.Match && r.Repaired > 0:
		return "MATCH: both tables hold the same items, now that " + comma(r.Repaired) + " were repaired."
	case r.Passed && r.Match:
		return "MATCH: both tables hold the same items."
	case r.Passed:
		return "PASSED: nothing " + butChanging(false) + "differs. Those were not seen to agree."
	case r.Missing+r.Extra+r.Different == 0 && r.StillChanging > 0:
		return "NO MATCH: " + r.why() + ". Verify again when the application writes less."
	}
	return "NO MATCH: " + r.why() + "."
}

// verdictFollowing is that of a run that followed the stream.
func (r Result) verdictFollowing() string {
	open := ""
	if r.Open > 0 {
		open = fmt.Sprintf("%s of the keys that changed are not known to agree for good (the last change of the oldest was seen %.0f s before the end)", comma(r.Open), r.OldestOpenSeconds)
	}
	until := " Each change from " + r.FollowedSince + " to " + r.FollowedUntil + " was followed."
	switch {
	case r.Passed && r.Match && r.Repaired > 0:
		return "MATCH: both tables hold the same items, now that " + comma(r.Repaired) + " were repaired." + until
	case r.Passed && r.Match:
		return "MATCH: both tables hold the same items." + until
	case r.Differing() > 0 && open != "":
		return "NO MATCH: " + r.why() + ", and " + open + "."
	case r.Differing() > 0 || r.Match: // or it is the configuration
		return "NO MATCH: " + r.why() + "."
	}
	if open == "" {
		open = "the stream is not known to be read to its end"
	}
	if lines := len(r.Against()); lines > 0 {
		return "NO MATCH: " + linesOf(lines) + ", and " + open + "."
	}
	return "NO MATCH YET: nothing differs, but " + open + "."
}

// verdictAsOf is that of a run that went on from a checkpoint.
func (r Result) verdictAsOf(of string) string {
	if of != "" {
		of = " " + of
	}
	if r.Differing() > 0 {
		return "NO MATCH: " + r.why() + of + ". There may be more: what had matched before this run was read as of " + r.AsOf + "."
	}
	but := ", but"
	if lines := len(r.Against()); lines > 0 {
		but = " but " + linesOf(lines) + ", and"
	}
	return "NO MATCH YET: nothing differs" + of + but + " the scans began at " + r.AsOf +
		", before this run, and what had matched by then may have changed since. Run it again: it now starts from the beginning."
}

// Differing is the number of items that differ or never stood still at the end, after a repair if there was one.
func (r Result) Differing() int64 {
	mended := int64(0)
	if r.Following != nil {
		mended = r.Mended
	}
	return r.Missing + r.Extra + r.Different + r.StillChanging - r.Repaired - mended
}

// butChanging excepts what AllowChanging let pass.
func butChanging(match bool) string {
	if match {
		return ""
	}
	return "but items that never stood still "
}

// why says what speaks against the tables.
func (r Result) why() string {
	lines := len(r.Against())
	strict := linesOf(lines)
	match := r.Match || r.Sample != nil && r.Sample.Match
	switch {
	case match && lines > 0:
		return "the items are the same, but " + strict
	case lines > 0:
		return r.whyItems() + ", and " + strict
	}
	return r.whyItems()
}

func linesOf(n int) string {
	return fmt.Sprintf("%d of the table configuration's lines differ or were not checked", n)
}

func (r Result) whyItems() string {
	if r.Missing+r.Extra+r.Different == 0 {
		return "some items never stood still"
	}
	return "the tables do not hold the same items"
}

func comma[N int | int64](n N) string { return humanize.Comma(int64(n)) }

// checkStrict refuses exceptions that name nothing.
func (o Options) checkStrict() error {
	if len(o.StrictExcept) > 0 && !o.Strict {
		return refuse.New("give --strict too, or leave it out", "--strict-except lists what --strict passes")
	}
	for _, one := range o.StrictExcept {
		known := func(what string) bool { return plainName(what) == plainName(one) }
		if !slices.ContainsFunc(SettingNames(), known) {
			return refuse.New("use "+listText(SettingNames()), "--strict-except %q is not a line of the table configuration", one)
		}
	}
	return nil
}
