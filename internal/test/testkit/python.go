package testkit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"reseal/internal/test/install"
)

//go:embed python/requirements.txt
var pythonRequirements []byte

// interpreter is Python's, of this test process.
var interpreter struct {
	once sync.Once
	path string
	err  error
}

// Python returns the path of a Python that has cfn-lint and moto, at the versions of python/requirements.txt. The first call on a
// machine installs them, in the user's cache folder.
func Python(t testing.TB) string {
	t.Helper()
	interpreter.once.Do(func() {
		interpreter.path, interpreter.err = install.Python{
			What: "cfn-lint and moto", Requirements: pythonRequirements, Remedy: "leave out the tests of the templates",
		}.Install(context.Background(), os.Stderr) // for the tests after this one, too
	})
	if interpreter.err != nil {
		t.Fatal(interpreter.err)
	}
	return interpreter.path
}

// LintTemplates has cfn-lint check CloudFormation templates, and returns all that it finds: errors, warnings and information. The
// keys are file names.
func LintTemplates(t testing.TB, templates map[string]string) string {
	t.Helper()
	path := Python(t)
	args := []string{filepath.Join(filepath.Dir(path), "cfn-lint"), "--include-checks", "I", "--regions", Region, "--"}
	folder := t.TempDir()
	for name, template := range templates {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	output, err := exec.CommandContext(t.Context(), path, args...).Output() // Python's own warnings are on stderr
	if found := strings.TrimSpace(string(output)); found != "" || err == nil {
		return found
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Sprintf("%v: %s", err, exit.Stderr)
	}
	return err.Error()
}
