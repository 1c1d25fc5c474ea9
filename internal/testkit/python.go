package testkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

//go:embed python/requirements.txt
var pythonRequirements []byte

// python is the interpreter of this test process.
var python struct {
	once sync.Once
	path string
	err  error
}

// Python returns the path of a Python that has cfn-lint and moto, at the versions of python/requirements.txt. The first call on a
// machine installs them, in the user's cache folder.
func Python(t testing.TB) string {
	t.Helper()
	python.once.Do(func() { python.path, python.err = installPython(context.Background()) }) // for the tests after this one, too
	if python.err != nil {
		t.Fatal(python.err)
	}
	return python.path
}

// installPython makes a virtual environment as engine.Install makes the engine: in a temporary folder, which is renamed when it is
// complete. Its scripts, which have its first path in them, are to be run as arguments of its python.
func installPython(ctx context.Context) (_ string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	digest := sha256.Sum256(pythonRequirements)
	parent := filepath.Join(cache, "reseal")
	dir := filepath.Join(parent, "python-"+hex.EncodeToString(digest[:])[:12])
	path := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("install cfn-lint and moto: %w", err)
	}
	work, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return "", fmt.Errorf("install cfn-lint and moto: %w", err)
	}
	defer func() {
		if rmErr := os.RemoveAll(work); rmErr != nil && err == nil {
			err = fmt.Errorf("remove temporary folder: %w", rmErr)
		}
	}()
	fmt.Fprintln(os.Stderr, "installing cfn-lint and moto with Python's pip")
	requirements := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(requirements, pythonRequirements, 0o644); err != nil {
		return "", fmt.Errorf("install cfn-lint and moto: %w", err)
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", work},
		{filepath.Join(work, "bin", "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", requirements},
	} {
		if output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("install cfn-lint and moto (it takes Python 3.11 or later with venv): %w: %s", err, bytes.TrimSpace(output))
		}
	}
	if err := os.Rename(work, dir); err != nil {
		if _, statErr := os.Stat(path); statErr != nil { // else another process was faster
			return "", fmt.Errorf("install cfn-lint and moto: %w", err)
		}
	}
	return path, nil
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
