// Command lambdazip builds the replicator for AWS Lambda (provided.al2023) and packs it, for both architectures, into the folder that
// it is given: replicator-arm64.zip and replicator-amd64.zip. The same sources and Go version give the same bytes, wherever and
// whenever they are built, so that what is deployed can be checked against a build of one's own.
package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lambdazip FOLDER, in the module's folder")
		os.Exit(2)
	}
	if err := pack(ctx, ".", os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

// pack builds and packs the module at the given place, and tells the size of each file.
func pack(ctx context.Context, module, folder string, log io.Writer) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	work, err := os.MkdirTemp("", "lambdazip-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }() // a leftover in the system's temporary folder harms nobody
	for _, arch := range []string{"arm64", "amd64"} {
		binary := filepath.Join(work, arch)
		if err := build(ctx, module, arch, binary); err != nil {
			return err
		}
		path := filepath.Join(folder, "replicator-"+arch+".zip")
		size, err := packOne(path, binary)
		if err != nil {
			return fmt.Errorf("pack %s: %w", path, err)
		}
		_, _ = fmt.Fprintf(log, "%s: %.1f MB\n", path, float64(size)/1e6)
	}
	return nil
}

// build leaves out of the binary what differs from one machine to the next (paths, the state of version control, the build ID), and
// with lambda.norpc what only the old go1.x runtime needed.
func build(ctx context.Context, module, arch, binary string) error {
	absolute, err := filepath.Abs(binary)
	if err != nil {
		return fmt.Errorf("build replicator: %w", err)
	}
	cmd := exec.CommandContext(
		ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", absolute, "./cmd/replicator",
	)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build replicator for %s: %w\n%s", arch, err, out)
	}
	return nil
}

// packOne writes a zip file that holds the binary as "bootstrap", executable, and returns its size in bytes.
func packOne(path, binary string) (size int64, err error) {
	data, err := os.ReadFile(binary)
	if err != nil {
		return 0, err
	}
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	archive := zip.NewWriter(file)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o755)
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return 0, err
	}
	if _, err := entry.Write(data); err != nil {
		return 0, err
	}
	if err := archive.Close(); err != nil {
		return 0, err
	}
	return file.Seek(0, io.SeekCurrent)
}
