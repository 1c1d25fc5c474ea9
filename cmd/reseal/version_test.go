package main

import (
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	text := reseal(t, "version").want(0)
	if again := reseal(t, "--version").want(0); again.stdout != text.stdout || !strings.HasPrefix(text.stdout, "reseal ") || !strings.Contains(text.stdout, runtime.Version()) {
		t.Errorf("%s, and %s", text, again)
	}
	got := reseal(t, "version", "--output", "json").want(0).object()
	has(t, got, map[string]any{"command": "version", "module": "reseal", "go": runtime.Version()})
	if v := (version{Version: "v1.2.3", Commit: "0123456789abcdef", Date: "2026-11-27T12:00:00Z", Modified: true, Go: "go1", Platform: "plan9/386"}); v.String() !=
		"reseal v1.2.3, commit 0123456789ab and changes of 2026-11-27T12:00:00Z, go1, plan9/386" {
		t.Error(v)
	}
}

func TestHelpOfExitStatus(t *testing.T) {
	t.Parallel()
	o := reseal(t, "help", "exit-status").want(0)
	for _, want := range []string{"\n  0  done", "\n  1  ", "\n  2  refused", "\n  3  failed", "\n  4  ", "\n130  interrupted"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in %s", want, o)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if o := reseal(t, "completion", shell).want(0); !strings.Contains(o.stdout, "reseal") || o.stderr != "" {
			t.Errorf("%s: %s", shell, o)
		}
	}
	if o := reseal(t, "__complete", "verify", "--fol").want(0); !strings.Contains(o.stdout, "--follow") {
		t.Errorf("of verify --fol: %s", o)
	}
	reseal(t, "completion", "tcsh").want(2)
}
