// Package ministack installs and runs MiniStack, another local engine that speaks DynamoDB's API, Streams included, and shares nothing
// with the first one. The tests run against it too: what holds on both is no oddity of one. It is a Python package (MIT License).
package ministack

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"reseal/internal/engine"
)

//go:embed requirements.txt
var requirements []byte

// remedy ends the errors of an engine that can't be installed.
const remedy = "run the tests with the other engine (make test)"

// Installation says where an installed engine is.
type Installation struct {
	python   string // path of the interpreter
	packages string // folder of what was installed
}

// Install returns the engine in the user's cache folder, and puts it there first if need be, which takes Python 3.11 with pip, and
// access to a package registry. What it does is told to log, a line each. Several processes may install at the same time.
//
// It fails if there is no such Python, and if pip fails; the message says what to do, in one line.
func Install(ctx context.Context, log io.Writer) (Installation, error) {
	python, version, err := findPython(ctx)
	if err != nil {
		return Installation{}, err
	}
	dir, err := engine.Folder{
		What: "the engine MiniStack",
		Tool: "pip",
		// Some of the packages are compiled for the interpreter.
		Contents: [][]byte{requirements, []byte(version)},
		Complete: func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, "ministack", "app.py"))
			return err == nil
		},
		Fill:   func(ctx context.Context, dir string) error { return fill(ctx, python, dir) },
		Remedy: remedy,
	}.Install(ctx, log)
	return Installation{python: python, packages: dir}, err
}

// Start runs the engine until Stop is called or ctx ends. Its errors are those of engine.Program.
func (i Installation) Start(ctx context.Context) (*engine.Engine, error) {
	return engine.Program{
		Path: i.python,
		Args: func(port string) []string {
			// Its own command would leave a file behind when it is killed, and hypercorn's workers a process.
			return []string{"-s", "-m", "hypercorn", "ministack.app:app", "--bind", "127.0.0.1:" + port, "--workers", "0", "--keep-alive", "75"}
		},
		Env:   []string{"PYTHONPATH=" + i.packages, "SERVICES=dynamodb,dynamodbstreams", "LOG_LEVEL=ERROR"},
		Ready: "Running on ",
	}.Start(ctx)
}

// versionPattern takes the minor version out of what the interpreter says.
var versionPattern = regexp.MustCompile(`^Python 3\.([0-9]+)\.`)

// oldest is the minor version of Python 3 that the requirements are made for.
const oldest = 11

func findPython(ctx context.Context) (path, version string, err error) {
	path, err = exec.LookPath("python3")
	if err != nil {
		return "", "", fmt.Errorf("install local engine: python3 not found: install Python 3.%d or newer with pip, or %s", oldest, remedy)
	}
	said, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("install local engine: run %s: %w", path, err)
	}
	version = strings.TrimSpace(string(said))
	parts := versionPattern.FindStringSubmatch(version)
	if parts == nil {
		return "", "", fmt.Errorf("install local engine: %s says %q: %w", path, version, errTooOld)
	}
	if minor, err := strconv.Atoi(parts[1]); err != nil || minor < oldest {
		return "", "", fmt.Errorf("install local engine: %s is %s: %w", path, version, errTooOld)
	}
	return path, version, nil
}

var errTooOld = errors.New("Python 3." + strconv.Itoa(oldest) + " or newer is needed; install it, or " + remedy)

// fill installs what the requirements say, exactly.
func fill(ctx context.Context, python, dir string) error {
	list, err := os.CreateTemp("", "reseal-requirements-*.txt")
	if err != nil {
		return fmt.Errorf("install local engine: %w", err)
	}
	defer func() { _ = os.Remove(list.Name()) }() // a temporary file
	_, err = list.Write(requirements)
	if err := errors.Join(err, list.Close()); err != nil {
		return fmt.Errorf("install local engine: %w", err)
	}
	cmd := exec.CommandContext(
		ctx, python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--no-compile", "--require-hashes",
		"--target", dir, "--requirement", list.Name(),
	)
	return engine.RunInstaller(ctx, cmd, "pip install", remedy)
}
