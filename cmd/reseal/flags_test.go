package main

import (
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"reseal/seed"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sides are the flags, with their defaults, that all commands on two tables have.
var sides = map[string]string{
	"source": "", "target": "", "region": "", "profile": "", "endpoint-url": "",
	"source-region": "", "source-profile": "", "source-role-arn": "", "source-endpoint-url": "",
	"target-region": "", "target-profile": "", "target-role-arn": "", "target-endpoint-url": "",
	"encryption": "kms", "output": "text", "no-progress": "false",
}

func TestFlags(t *testing.T) {
	t.Parallel()
	with := func(own map[string]string) map[string]string {
		all := maps.Clone(sides)
		maps.Copy(all, own)
		return all
	}
	want := map[string]map[string]string{
		"seed": with(map[string]string{
			"segments": "16", "read-units": "", "write-units": "", "recheck": "all", "checkpoint": "", "restart": "false", "dry-run": "false", "rejects": "",
			"price-write-million": "0.625", "price-read-million": "0.125", "price-write-unit-hour": "0.00065", "price-read-unit-hour": "0.00013",
		}),
		"replicate": with(map[string]string{
			"from": "trim-horizon", "until-idle": "0s", "give-up": "0s", "checkpoint": "", "restart": "false", "on-poison": "block", "dead-letter-queue": "",
		}),
		"verify": with(map[string]string{
			"segments": "16", "read-units": "", "settle": "30s", "max-memory": "256MiB", "repair": "false", "report": "",
			"dry-run": "false", "ignore-expired": "true", "sample": "", "sample-seed": "0", "checkpoint": "", "restart": "false",
			"allow-changing": "false", "strict": "false", "strict-except": "", "show-values": "false", "consistent": "false",
			"follow": "false", "until-quiet": "0s", "for": "0s",
		}),
		"cutover": with(map[string]string{
			"fence": "policy", "fence-command": "", "unfence-command": "", "fence-except": "", "deny-reads": "false", "max-fence": "1m0s", "quiet": "5s", "hold": "1h0m0s",
			"replicator-arn": "", "replicator-stop-command": "", "keep-back": "false", "postpone": "", "at": "", "on-ready": "", "state": "", "watch": "10m0s",
			"dry-run": "false", "abort": "false", "finish": "false", "eventual": "false", "checkpoint": "", "segments": "16", "read-units": "", "max-memory": "256MiB",
			"strict-except": "",
		}),
		"migrate": with(map[string]string{
			"state": "", "until": "cutover", "replicator": "own", "kms-key-id": "", "segments": "16", "write-units": "", "read-units": "", "max-memory": "256MiB",
			"strict-except": "", "eventual": "false", "fence": "policy", "fence-command": "", "unfence-command": "", "fence-except": "", "deny-reads": "false",
			"max-fence": "1m0s", "quiet": "5s", "hold": "1h0m0s", "keep-back": "false", "postpone": "", "at": "", "on-ready": "", "watch": "10m0s",
			"abort": "false", "finish": "false",
		}),
		"retire": {
			"source": "", "unused-for": "24h0m0s", "fenced-otherwise": "false", "apply": "false", "disable-deletion-protection": "false", "no-backup": "false",
			"output": "text", "no-progress": "false", "region": "", "profile": "", "role-arn": "", "endpoint-url": "",
		},
		"fingerprint": {
			"table": "", "key-secret": "", "segments": "16", "read-units": "", "ignore-expired": "true", "expired-by": "", "as-of": "",
			"output": "text", "no-progress": "false", "region": "", "profile": "", "role-arn": "", "endpoint-url": "",
		},
		"prepare": with(map[string]string{"kms-key-id": "", "stage": "2", "apply": "false", "keep-back": "false"}),
		"version": {"output": "text"}, "exit-status": {},
		"demo": {"items": "20000", "segments": "16", "endpoint-url": "", "keep": "false", "output": "text", "no-progress": "false"},
	}
	delete(want["prepare"], "encryption") // they make the target
	delete(want["migrate"], "encryption")
	for _, cmd := range rootCommand(io.Discard, io.Discard).Commands() {
		got := map[string]string{}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { got[f.Name] = f.DefValue })
		if !maps.Equal(got, want[cmd.Name()]) {
			t.Errorf("%s: flags\n%v, want\n%v", cmd.Name(), got, want[cmd.Name()])
		}
		delete(want, cmd.Name())
	}
	if len(want) > 0 {
		t.Errorf("no commands: %v", slices.Sorted(maps.Keys(want)))
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "seed", "replicate", "verify", "cutover", "migrate", "retire", "fingerprint", "demo", "version"} {
		args := strings.Fields(name + " --help")
		o := reseal(t, args...).want(0)
		if o.stderr != "" {
			t.Errorf("%v: %s", args, o)
		}
		for _, part := range []string{"Usage:\n  reseal", "Examples:\n  reseal ", "Flags:\n", "--help"} {
			if !strings.Contains(o.stdout, part) {
				t.Errorf("%v: no %q", args, part)
			}
		}
		for line := range strings.Lines(o.stdout) {
			if len(line) > 120 || strings.Contains(line, "\t") {
				t.Errorf("%v: a line of %d columns: %s", args, len(line)-1, line)
			}
		}
		if again := reseal(t, append([]string{"help"}, strings.Fields(name)...)...).want(0); again.stdout != o.stdout {
			t.Errorf("%v: help is another one: %s", args, again)
		}
	}
	if root := reseal(t).want(0); !strings.Contains(root.stdout, `Use "reseal [command] --help"`) {
		t.Errorf("the help doesn't say how to see a command's flags: %s", root)
	}
}

func TestShareFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]shareFlag{"1%": 0.01, "0.5%": 0.005, "99.9%": 0.999} {
		var s shareFlag
		if err := s.Set(text); err != nil || math.Abs(float64(s-want)) > 1e-12 || s.String() != text {
			t.Errorf("%s: %v %q, %v", text, float64(s), s.String(), err)
		}
	}
	for _, text := range []string{"", "1", "0%", "-1%", "100%", "NaN%", "Inf%", "%", "one%"} {
		var s shareFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestUnitsFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]unitsFlag{
		"1": {units: 1}, "0.5": {units: 0.5}, "2000": {units: 2000}, "1e3": {units: 1000},
		"50%": {share: 0.5}, "100%": {share: 1}, "0.5%": {share: 0.005},
	} {
		var u unitsFlag
		if err := u.Set(text); err != nil || u != want {
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "0", "-0", "-1", "abc", "5 units", "NaN", "inf", "-Inf", "1e400", "%", "0%", "-5%", "101%", "5 %", "5%%", "NaN%"} {
		u := unitsFlag{units: 7}
		if err := u.Set(text); err == nil || u.units != 7 || u.share != 0 {
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
	for want, u := range map[string]unitsFlag{"": {}, "2.5": {units: 2.5}, "80%": {share: 0.8}} {
		if u.String() != want {
			t.Errorf("%q, want %q", u.String(), want)
		}
	}
}

func TestSegmentsFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]segmentsFlag{"1": 1, "16": 16, "1000000": 1_000_000, "auto": seed.AutoSegments} {
		var s segmentsFlag
		if err := s.Set(text); err != nil || s != want || s.String() != text {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "1000001", "1.5", "Auto", "99999999999999999999"} {
		var s segmentsFlag
		if err := s.Set(text); err == nil || s != 0 {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

func TestSizeFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"256MiB": 256 << 20, "256mib": 256 << 20, "1": 1, "100B": 100, "2 GiB": 2 << 30, "1MB": 1_000_000, "0.5KiB": 512,
	} {
		var s sizeFlag
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q: %d, %v", text, s, err)
		}
		var again sizeFlag
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q: %q reads as %d", text, s.String(), again)
		}
	}
	for _, text := range []string{"", "0", "0.2", "-1", "-1MiB", "abc", "1XB", "MiB", "9999999999GiB", "NaN"} {
		s := sizeFlag(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q: %d, %v", text, s, err)
		}
	}
	for size, want := range map[sizeFlag]string{
		0: "0B", 1: "1B", 1023: "1023B", 1024: "1KiB", 256 << 20: "256MiB", 1 << 60: "1048576TiB", math.MaxInt64: "9223372036854775807B",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d: %q, want %q", size, got, want)
		}
	}
}

func TestChoiceFlag(t *testing.T) {
	t.Parallel()
	value := ""
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	choice(f, &value, "color", "", "red", "green")
	flag := f.Lookup("color")
	if value != "red" || flag.DefValue != "red" || flag.Value.Type() != "red|green" {
		t.Errorf("default: %q, %q, %q", value, flag.DefValue, flag.Value.Type())
	}
	err := f.Parse([]string{"--color", "blue"})
	if got := flagError(&cobra.Command{Use: "paint"}, err).Error(); got != `--color "blue" is not understood: use red or green` || value != "red" {
		t.Errorf("blue: %q, %q", got, value)
	}
	if err := f.Parse([]string{"--color", "green"}); err != nil || value != "green" {
		t.Errorf("green: %v, %q", err, value)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"seed", "verify", "replicate", "prepare", "segments", "source", "restart", "rejects"}
	for typed, want := range map[string]string{
		"sed": "seed", "seeed": "seed", "esed": "seed", "SEED": "seed", "verfiy": "verify", "rep": "replicate", "prep": "prepare",
		"segmets": "segments", "sgments": "segments", "soruce": "source", "restrat": "restart",
		"": "", "x": "", "nosuch": "", "bogus": "", "se": "", "destroy": "", "größe": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	for words, want := range map[[2]string]int{{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"abc", "acb"}: 1, {"abc", "abcd"}: 1, {"kitten", "sitting"}: 3} {
		if got := edits(words[0], words[1]); got != want {
			t.Errorf("%q: %d, want %d", words, got, want)
		}
	}
}
