// Package python installs programs that are written in Python, for tests and benchmarks.
package python

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Environment is a virtual environment with certain packages.
type Environment struct {
	What         string // is in it, for messages
	Requirements []byte // of pip, each with its version and digests
}

// Install returns the path of the environment's interpreter, and makes the environment in the user's cache folder first if need be,
// which takes Python 3.11 or later with venv, and access to a package registry. It is made in a temporary folder, which is renamed when
// it is complete, so several processes may do it at the same time. Scripts in it, which have the temporary path in them, are to be run
// as arguments of the interpreter. What it does is told to log.
func (e Environment) Install(ctx context.Context, log io.Writer) (_ string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	digest := sha256.Sum256(e.Requirements)
	parent := filepath.Join(cache, "reseal")
	dir := filepath.Join(parent, "python-"+hex.EncodeToString(digest[:])[:12])
	path := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("install %s: %w", e.What, err)
	}
	work, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return "", fmt.Errorf("install %s: %w", e.What, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if _, err := fmt.Fprintf(log, "installing %s with Python's pip\n", e.What); err != nil {
		return "", err
	}
	if err := e.fill(ctx, work); err != nil {
		return "", err
	}
	if err := os.Rename(work, dir); err != nil {
		if _, statErr := os.Stat(path); statErr != nil { // else another process was faster
			return "", fmt.Errorf("install %s: %w", e.What, err)
		}
	}
	return path, nil
}

func (e Environment) fill(ctx context.Context, dir string) error {
	requirements := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(requirements, e.Requirements, 0o644); err != nil {
		return fmt.Errorf("install %s: %w", e.What, err)
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", requirements},
	} {
		if output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("install %s (it takes Python 3.11 or later with venv): %w: %s", e.What, err, bytes.TrimSpace(output))
		}
	}
	return nil
}
