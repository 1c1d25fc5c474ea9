package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"reseal/replicate"
)

// What fails is told after ten seconds, then every minute, and anew when it fails again.
func TestTroubles(t *testing.T) {
	var out bytes.Buffer
	trouble := troubles{out: &out}
	failure := errors.New("denied")
	show := func(failing time.Duration) {
		p := replicate.Progress{Failing: failing, Lag: time.Hour, GiveUpIn: 22 * time.Hour}
		if failing > 0 {
			p.Failure = failure
		}
		if trouble.isDue(p) {
			trouble.tell(p)
		}
	}
	for second := range 200 {
		show(time.Duration(second) * time.Second)
	}
	show(0)
	show(11 * time.Second)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || lines[0] != "replicate: failing for 10s, lag 1h0m0s: denied; gives up in 22h0m0s" || !strings.HasPrefix(lines[4], "replicate: failing for 11s") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}
