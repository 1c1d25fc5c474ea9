package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"reseal/internal/refuse"
	"reseal/verify"
)

// report is the file of --report; without a path it takes everything and keeps nothing.
//
// The file is opened before the work, so that a path that can't be written is refused, but what an earlier run left in it goes
// only when this one has begun.
type report struct {
	file    *os.File // nil: none
	created bool
	begun   bool
	buffer  *bufio.Writer
}

func openReport(path string) (*report, error) {
	if path == "" {
		return &report{}, nil
	}
	r := &report{}
	var err error
	if r.file, err = os.OpenFile(path, os.O_WRONLY, 0); errors.Is(err, fs.ErrNotExist) {
		r.created = true
		r.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, reportMode)
	}
	if err != nil {
		return nil, refuse.Because(err, "give another --report", "the report can't be written (%s)", err)
	}
	r.buffer = bufio.NewWriter(r.file)
	return r, nil
}

// reportMode keeps the keys of the table's items from others.
const reportMode fs.FileMode = 0o600

// begin empties a file that was there before.
func (r *report) begin() error {
	if r.begun || r.file == nil {
		return nil
	}
	r.begun = true
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() { // and not /dev/stderr, say
		err = errors.Join(r.file.Truncate(0), r.file.Chmod(reportMode))
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r *report) write(d verify.Difference) error {
	if r.file == nil {
		return nil
	}
	if err := r.begin(); err != nil {
		return err
	}
	return verify.WriteDifference(r.buffer, d)
}

// close ends the report of a verification that ended with the given error, which it returns together with its own. Where the
// verification was refused, nothing has changed.
func (r *report) close(result error) error {
	if r.file == nil {
		return result
	}
	if refuse.Is(result) {
		_ = r.file.Close() // nothing was written to it
		if r.created {
			_ = os.Remove(r.file.Name()) // an empty file that stays is no reason for another exit status
		}
		return result
	}
	err := errors.Join(r.begin(), r.buffer.Flush(), r.file.Close())
	if err != nil {
		err = fmt.Errorf("write report: %w", err)
	}
	return errors.Join(result, err)
}
