package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/refuse"
	"reseal/verify"
	"reseal/verify/report"
)

// reportFile is a file of --report. What an earlier run left in it goes only when this one has begun; of a run that was refused,
// nothing is seen.
type reportFile interface {
	begin(resumed bool) error
	write(verify.Difference) error
	show() error                                    // has what was written be seen, though the run goes on
	end(result *verify.Result, failure error) error // of a run that has begun: one of them is nil
	abandon()                                       // of a run that was refused
}

// reports are all of them.
type reports struct {
	list    []reportFile
	begun   bool
	follows bool // the run may go on for hours: what it finds is seen at once

	mu     sync.Mutex // held while one is written or shown
	failed error      // of showing
}

// openReports opens the files before the work, so that a path that can't be written is refused.
func openReports(paths []string, repairs bool, head report.PageHead) (*reports, error) {
	r := &reports{}
	for i, path := range paths {
		one, err := openReport(path, repairs, head)
		if err == nil && slices.Contains(paths[:i], path) {
			one.abandon()
			err = refuse.New("give each file once", "--report %q is given twice", path)
		}
		if err != nil {
			r.abandon()
			return nil, err
		}
		r.list = append(r.list, one)
	}
	return r, nil
}

func openReport(path string, repairs bool, head report.PageHead) (reportFile, error) {
	var one reportFile
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".html", ".htm":
		one, err = openPage(path, head)
	default:
		one, err = openLines(path, repairs)
	}
	if err != nil {
		return nil, refuse.Because(err, "give another --report", "the report can't be written (%s)", err)
	}
	return one, nil
}

func (r *reports) begin(resumed bool) error {
	r.begun = true
	for _, one := range r.list {
		if err := one.begin(resumed); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func (r *reports) write(d verify.Difference) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.list {
		if err := one.write(d); err != nil {
			return err
		}
	}
	return r.failed
}

// show is called about once a second while the run goes on.
func (r *reports) show() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.list {
		if r.follows && r.begun && r.failed == nil {
			r.failed = one.show()
		}
	}
}

func (r *reports) abandon() {
	for _, one := range r.list {
		one.abandon()
	}
}

// close ends the reports of a verification that ended with the result or the failure, which it returns together with its own.
func (r *reports) close(result verify.Result, failure error) error {
	if !r.begun {
		r.abandon()
		return failure
	}
	what := &result
	if failure != nil {
		what = nil
	}
	errs := r.failed
	for _, one := range r.list {
		if err := one.end(what, failure); err != nil {
			errs = errors.Join(errs, fmt.Errorf("write report: %w", err))
		}
	}
	return errors.Join(failure, errs)
}

// reportMode keeps the keys of the tables' items from others.
const reportMode fs.FileMode = 0o600

// opened opens a file for writing, without a change to one that is there.
func opened(path string) (file *os.File, created bool, err error) {
	file, err = os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, reportMode)
		return file, true, err
	}
	return file, false, err
}

// lineReport is a file with a line of JSON for each difference.
type lineReport struct {
	file    *os.File
	repairs bool
	created bool
	buffer  *bufio.Writer
}

func openLines(path string, repairs bool) (reportFile, error) {
	file, created, err := opened(path)
	if err != nil {
		return nil, err
	}
	return &lineReport{file: file, repairs: repairs, created: created, buffer: bufio.NewWriter(file)}, nil
}

// begin empties a file that was there before. A repair that goes on keeps what it had said until then: what it had repaired is found
// equal now, and would be said nowhere.
func (r *lineReport) begin(resumed bool) error {
	info, err := r.file.Stat()
	if err != nil || !info.Mode().IsRegular() { // but /dev/stderr, say
		return err
	}
	if err := r.file.Chmod(reportMode); err != nil {
		return err
	}
	if !resumed || !r.repairs {
		return r.file.Truncate(0)
	}
	_, err = r.file.Seek(0, io.SeekEnd)
	return err
}

// write keeps what is about to be repaired safe from the end of the process.
func (r *lineReport) write(d verify.Difference) error {
	if err := report.WriteDifference(r.buffer, d); err != nil || d.Repair == "" {
		return err
	}
	return r.buffer.Flush()
}

func (r *lineReport) show() error { return r.buffer.Flush() }

func (r *lineReport) end(*verify.Result, error) error {
	return errors.Join(r.buffer.Flush(), r.file.Close())
}

func (r *lineReport) abandon() {
	_ = r.file.Close() // nothing was written to it
	if r.created {
		_ = os.Remove(r.file.Name()) // an empty file that stays is no reason for another exit status
	}
}

// pageReport is a file that is replaced as a whole: by a page that says that the run has not ended when it begins, so that whatever
// happens then, no older page is taken for its result; and by the result.
type pageReport struct {
	path    string
	created bool
	page    *report.Page
	unseen  bool      // it has rows that the file lacks
	written time.Time // when the file was, last
}

// pageInterval is how often the page is written again while the run goes on.
const pageInterval = 5 * time.Second

func openPage(path string, head report.PageHead) (reportFile, error) {
	file, created, err := opened(path)
	if err != nil {
		return nil, err
	}
	r := &pageReport{path: path, created: created, page: report.NewPage(head)}
	beside, err := os.CreateTemp(filepath.Dir(path), ".reseal-*") // where the new page will be made
	if err != nil {
		_ = file.Close()
		r.abandon()
		return nil, err
	}
	_ = beside.Close() // nothing was written to either
	_ = os.Remove(beside.Name())
	return r, file.Close()
}

func (r *pageReport) begin(bool) error { return r.end(nil, nil) }

func (r *pageReport) write(d verify.Difference) error {
	r.unseen = true
	return r.page.Add(d)
}

func (r *pageReport) show() error {
	if !r.unseen || time.Since(r.written) < pageInterval {
		return nil
	}
	return r.end(nil, nil)
}

func (r *pageReport) end(result *verify.Result, failure error) error {
	r.unseen, r.written = false, time.Now()
	return atomicfile.WriteBy(r.path, func(w io.Writer) error {
		buffer := bufio.NewWriter(w)
		return errors.Join(r.page.Write(buffer, result, failure), buffer.Flush())
	})
}

func (r *pageReport) abandon() {
	if r.created {
		_ = os.Remove(r.path) // an empty file that stays is no reason for another exit status
	}
}
