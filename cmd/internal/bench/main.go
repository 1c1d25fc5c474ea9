// Command bench measures what reseal costs beside the simplest loop that the AWS SDK allows, in the same run, on whatever machine it
// runs on: only the ratios mean something elsewhere. Its results go to standard output as a table, and with -json to a file.
//
// Every measurement is a process of its own (this program, with other arguments), against a server in another one that makes up its
// answers (package canned), or against a local engine: so processor time and memory are the client's alone.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one measurement.
type figure struct {
	Part  string `json:"part"` // of the suite
	What  string `json:"what"`
	Items int    `json:"items"`
	Size  int    `json:"size"` // of an item, bytes
	outcome
	Ratio     float64 `json:"ratio,omitempty"`      // of processor time per item to that of the part's yardstick, see Of
	WallRatio float64 `json:"wall_ratio,omitempty"` // of wall time
	Of        string  `json:"of,omitempty"`
}

// outcome is what a process tells of itself; 0 is not known.
type outcome struct {
	WallSeconds      float64 `json:"wall_seconds"`
	ProcessorSeconds float64 `json:"processor_seconds,omitempty"` // user and system
	PeakBytes        int64   `json:"peak_bytes,omitempty"`        // resident
	Allocations      uint64  `json:"allocations,omitempty"`
	AllocatedBytes   uint64  `json:"allocated_bytes,omitempty"`
}

// perItem is the processor time of an item, in microseconds.
func (f figure) perItem() float64 { return f.ProcessorSeconds / float64(f.Items) * 1e6 }

// suite is one run of all or some parts.
type suite struct {
	log     io.Writer
	figures []figure
	notes   []string
	long    bool
	rounds  int
}

type part struct {
	name string
	run  func(*suite, context.Context) error
}

// parts in the order in which they run.
var parts = []part{
	{"client", (*suite).client},
	{"scaling", (*suite).scaling},
	{"ceiling", (*suite).ceiling},
	{"peers", (*suite).peers},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "run only these parts, separated by commas: client, scaling, ceiling, peers")
	long := flag.Bool("long", false, "up to 10^7 items")
	rounds := flag.Int("rounds", 3, "take each measurement so many times, and the best of them")
	path := flag.String("json", "", "write the figures to this file")
	flag.Parse()
	// The local engine and the canned server take any; nobody else is asked.
	for name, value := range credentials {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := &suite{log: os.Stderr, long: *long, rounds: *rounds}
	err := s.run(ctx, *only)
	if err == nil && *path != "" {
		err = s.write(*path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (s *suite) run(ctx context.Context, only string) error {
	wanted := strings.FieldsFunc(only, func(c rune) bool { return c == ',' })
	for _, name := range wanted {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q", name)
		}
	}
	fmt.Printf("%s, %d cores, %s/%s\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	for _, part := range parts {
		if len(wanted) > 0 && !slices.Contains(wanted, part.name) {
			continue
		}
		first, firstNote := len(s.figures), len(s.notes)
		if err := part.run(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := s.print(part.name, s.figures[first:]); err != nil {
			return err
		}
		for _, note := range s.notes[firstNote:] {
			fmt.Println(note)
		}
	}
	return nil
}

// print writes the figures of one part as a table.
func (s *suite) print(part string, figures []figure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := fmt.Fprintf(w, "\n%s\twhat\tbytes\titems\ts\tCPU us/item\tallocs/item\tpeak MB\tCPU ratio\twall ratio\tof\t\n", part)
	known := func(format string, value float64) string {
		if value == 0 {
			return ""
		}
		return fmt.Sprintf(format, value)
	}
	for _, f := range figures {
		if err == nil {
			_, err = fmt.Fprintf(w, "\t%s\t%d\t%d\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
				f.What, f.Size, f.Items, f.WallSeconds, known("%.2f", f.perItem()), known("%.1f", float64(f.Allocations)/float64(f.Items)),
				known("%.0f", float64(f.PeakBytes)/1e6), known("%.2f", f.Ratio), known("%.2f", f.WallRatio), f.Of)
		}
	}
	if err == nil {
		err = w.Flush()
	}
	return err
}

// note adds what is to be known of a part's figures.
func (s *suite) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (s *suite) write(path string) error {
	data, err := json.MarshalIndent(struct {
		Go, OS, Architecture string
		Cores                int
		Made                 time.Time
		Figures              []figure
		Notes                []string
	}{runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC(), s.figures, s.notes}, "", " ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
