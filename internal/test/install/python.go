package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Python is a virtual environment with certain packages.
type Python struct {
	What         string // is in it, for messages
	Requirements []byte // of pip, each with its version and digests
	Remedy       string // ends the errors: what to do if it can't be had
}

// Install returns the path of the environment's interpreter, and makes the environment in the user's cache folder first if need be,
// which takes Python 3.11 or newer with venv and pip, and access to a package registry. Scripts in it, which have another path in
// them, are to be run as arguments of the interpreter. What it does is told to log, a line each; a nil log is silent. Several
// processes may install at the same time.
//
// It fails if there is no such Python, and if pip fails; the message says what to do, in one line.
func (e Python) Install(ctx context.Context, log io.Writer) (string, error) {
	base, version, err := e.find(ctx)
	if err != nil {
		return "", fmt.Errorf("install %s: %w", e.What, err)
	}
	dir, err := Folder{
		Kind:     "python",
		What:     e.What,
		Tool:     "pip",
		Contents: [][]byte{e.Requirements, []byte(version), []byte(base)}, // it goes on using the interpreter, and some packages are compiled for it
		Complete: func(dir string) bool {
			_, err := os.Stat(interpreter(dir))
			return err == nil
		},
		Fill:   func(ctx context.Context, dir string) error { return e.fill(ctx, base, dir) },
		Remedy: e.Remedy,
	}.Install(ctx, log)
	if err != nil {
		return "", err
	}
	return interpreter(dir), nil
}

func interpreter(dir string) string { return filepath.Join(dir, "bin", "python") }

// fill installs what the requirements say, exactly.
func (e Python) fill(ctx context.Context, base, dir string) error {
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, e.Requirements, 0o644); err != nil {
		return err
	}
	if err := Run(ctx, exec.CommandContext(ctx, base, "-m", "venv", dir), "venv", e.Remedy); err != nil {
		return err
	}
	cmd := exec.CommandContext(
		ctx, interpreter(dir), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--require-hashes",
		"--requirement", list,
	)
	return Run(ctx, cmd, "pip install", e.Remedy)
}

// versionPattern takes the minor version out of what the interpreter says.
var versionPattern = regexp.MustCompile(`^Python 3\.([0-9]+)\.`)

// oldest is the minor version of Python 3 that requirements are made for.
const oldest = 11

var errTooOld = errors.New("Python 3." + strconv.Itoa(oldest) + " or newer is needed")

// find returns the path and the version of the machine's Python.
func (e Python) find(ctx context.Context) (path, version string, err error) {
	path, err = exec.LookPath("python3")
	if err != nil {
		return "", "", fmt.Errorf("python3 not found: install Python 3.%d or newer with venv and pip, or %s", oldest, e.Remedy)
	}
	said, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("run %s: %w", path, err)
	}
	version = strings.TrimSpace(string(said))
	parts := versionPattern.FindStringSubmatch(version)
	if parts == nil {
		return "", "", fmt.Errorf("%s says %q: %w; install it, or %s", path, version, errTooOld, e.Remedy)
	}
	if minor, err := strconv.Atoi(parts[1]); err != nil || minor < oldest {
		return "", "", fmt.Errorf("%s is %s: %w; install it, or %s", path, version, errTooOld, e.Remedy)
	}
	return path, version, nil
}
