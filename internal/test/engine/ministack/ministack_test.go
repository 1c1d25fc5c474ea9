package ministack

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"reseal/internal/test/install/cachetest"
)

func TestInstallAndStart(t *testing.T) {
	if os.Getenv("RESEAL_TEST_ENGINE") != "ministack" {
		t.Skip("it takes Python and a package registry: make test ENGINE=ministack")
	}
	cache := cachetest.Empty(t)
	var log bytes.Buffer
	installed, err := Install(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(installed.interpreter, cache) || log.Len() == 0 {
		t.Errorf("installed in %s, log %q", installed.interpreter, log.String())
	}
	log.Reset()
	if again, err := Install(t.Context(), &log); err != nil || again != installed || log.Len() > 0 {
		t.Errorf("the second time: %+v, %v, log %q", again, err, log.String())
	}
	engine, err := installed.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Stop(); err != nil {
		t.Error(err)
	}
}

// Every package has one version and the digests of its files, and none says where from.
func TestPins(t *testing.T) {
	pinned := regexp.MustCompile(`(?m)^[a-z0-9-]+==[0-9a-z.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+`)
	if rest := pinned.ReplaceAll(requirements, nil); len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("not pinned: %s", rest)
	}
	if !bytes.Contains(requirements, []byte("ministack==")) {
		t.Error("the engine is not among them")
	}
}
