package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"reseal/internal/refuse"
	"reseal/internal/scan"
	"reseal/seed"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// remedies says for each type of flag what may be given. pflag's own words for it are those of the strconv package.
var remedies = map[string]string{
	"int":      "give a whole number",
	"duration": "give a duration such as 30s or 5m",
	"bool":     "give true or false, or nothing for true",
	"units":    "give a number of units a second, above 0, or a percentage such as 50%",
	"int|auto": "give a number from 1 to 1,000,000, or auto",
	"usd":      "give a number of dollars, 0 or more",
	"uint64":   "give a whole number, not below 0",
	"percent":  "give a percentage above 0 and below 100, such as 1%",
	"size":     "give a size above 0, such as 256MiB",
}

// flagError refuses a flag that is unknown or has a value that it can't have.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		flag := invalid.GetFlag()
		remedy, is := remedies[flag.Value.Type()]
		if choice, isChoice := flag.Value.(*choiceFlag); isChoice {
			remedy, is = "use "+strings.Join(choice.choices, " or "), true
		}
		if is {
			return refuse.Because(err, remedy, "--%s %q is not understood", flag.Name, invalid.GetValue())
		}
	}
	meant := ""
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if like := nearest(unknown.GetSpecifiedName(), names); like != "" {
			meant = "did you mean --" + like + "? "
		}
	}
	return refuse.Because(err, meant+seeHelp(cmd), "%s", err)
}

// nearest is the name that was probably meant by one that there isn't; "" if none is near. Names that only begin like it are near, too.
func nearest(typed string, names []string) string {
	best, least := "", min(3, (len(typed)+1)/2) // the first distance that is too far
	for _, name := range names {
		distance := edits(strings.ToLower(typed), name)
		if len(typed) >= 3 && strings.HasPrefix(name, strings.ToLower(typed)) {
			distance = min(distance, 1)
		}
		if distance < least {
			best, least = name, distance
		}
	}
	return best
}

// edits is how many letters must be put in, taken out, replaced or swapped with the next one to make one word of another
// (optimal string alignment distance).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// textFlag is any text; help shows its kind.
type textFlag struct {
	value *string
	kind  string
}

var _ pflag.Value = (*textFlag)(nil)

func (t *textFlag) String() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

func (t *textFlag) Set(text string) error {
	*t.value = text
	return nil
}

func (t *textFlag) Type() string { return t.kind }

// text defines a flag of any text.
func text(f *pflag.FlagSet, value *string, name, kind, usage string) {
	f.Var(&textFlag{value, kind}, name, usage)
}

// choiceFlag is one of some words.
type choiceFlag struct {
	value   *string
	choices []string
}

var _ pflag.Value = (*choiceFlag)(nil)

func (c *choiceFlag) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c *choiceFlag) Set(text string) error {
	if !slices.Contains(c.choices, text) {
		return fmt.Errorf("choice: %q", text)
	}
	*c.value = text
	return nil
}

func (c *choiceFlag) Type() string { return strings.Join(c.choices, "|") }

// choice defines a flag that is one of some words, the first of them if it isn't given.
func choice(f *pflag.FlagSet, value *string, name, usage string, choices ...string) {
	*value = choices[0]
	f.Var(&choiceFlag{value, choices}, name, usage)
}

// listFlag is some texts: the flag may be given several times.
type listFlag []string

var _ pflag.Value = (*listFlag)(nil)

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(text string) error {
	*l = append(*l, text)
	return nil
}

func (l *listFlag) Type() string { return "list" }

// split takes the texts apart at commas.
func (l *listFlag) split() []string {
	var list []string
	for _, text := range *l {
		list = append(list, strings.Split(text, ",")...)
	}
	return list
}

// unitsFlag is a number of capacity units a second, above zero, or a percentage of what the table has. Both are zero if the flag
// isn't given.
type unitsFlag struct {
	units float64
	share float64 // 0.5 for 50%
}

var _ pflag.Value = (*unitsFlag)(nil)

func (u *unitsFlag) String() string {
	switch {
	case u.units > 0:
		return strconv.FormatFloat(u.units, 'g', -1, 64)
	case u.share > 0:
		return strconv.FormatFloat(u.share*100, 'g', -1, 64) + "%"
	}
	return ""
}

func (u *unitsFlag) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || value <= 0 || percent && value > 100 {
		return fmt.Errorf("units a second: %q", text)
	}
	*u = unitsFlag{units: value}
	if percent {
		*u = unitsFlag{share: value / 100}
	}
	return nil
}

func (u *unitsFlag) Type() string { return "units" }

// shareFlag is a percentage above 0 and below 100, as a part of one; 0 if the flag isn't given.
type shareFlag float64

var _ pflag.Value = (*shareFlag)(nil)

func (s *shareFlag) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(*s), 'g', -1, 64) + "%"
}

func (s *shareFlag) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(number, 64)
	if !percent || err != nil || !(value > 0 && value < 100) {
		return fmt.Errorf("percentage: %q", text)
	}
	*s = shareFlag(value / 100)
	return nil
}

func (s *shareFlag) Type() string { return "percent" }

// dollarsFlag is a price, 0 or more.
type dollarsFlag float64

var _ pflag.Value = (*dollarsFlag)(nil)

func (d *dollarsFlag) String() string { return strconv.FormatFloat(float64(*d), 'g', -1, 64) }

func (d *dollarsFlag) Set(text string) error {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= 0) || math.IsInf(value, 0) {
		return fmt.Errorf("dollars: %q", text)
	}
	*d = dollarsFlag(value)
	return nil
}

func (d *dollarsFlag) Type() string { return "usd" }

// price defines a flag of dollars that has a value already.
func price(f *pflag.FlagSet, value *float64, name, usage string) {
	f.Var((*dollarsFlag)(value), name, usage)
}

// segmentsFlag is a number of segments, or auto.
type segmentsFlag int

var _ pflag.Value = (*segmentsFlag)(nil)

const auto = "auto"

func (s *segmentsFlag) String() string {
	if *s == seed.AutoSegments {
		return auto
	}
	return strconv.Itoa(int(*s))
}

func (s *segmentsFlag) Set(text string) error {
	if text == auto {
		*s = seed.AutoSegments
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > scan.MaxSegments {
		return fmt.Errorf("segments: %q", text)
	}
	*s = segmentsFlag(n)
	return nil
}

func (s *segmentsFlag) Type() string { return "int|auto" }

// sizeFlag is a number of bytes above zero, such as 256MiB.
type sizeFlag int64

var _ pflag.Value = (*sizeFlag)(nil)

// String is the size in the largest unit of which it is a whole number.
func (s *sizeFlag) String() string {
	bytes, unit := int64(*s), 0
	names := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for bytes != 0 && bytes%1024 == 0 && unit < len(names)-1 {
		bytes, unit = bytes/1024, unit+1
	}
	return strconv.FormatInt(bytes, 10) + names[unit]
}

func (s *sizeFlag) Set(text string) error {
	bytes, err := humanize.ParseBytes(text)
	if err != nil || bytes == 0 || bytes > math.MaxInt64 {
		return fmt.Errorf("size: %q", text)
	}
	*s = sizeFlag(bytes)
	return nil
}

func (s *sizeFlag) Type() string { return "size" }
