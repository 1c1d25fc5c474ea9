package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// credentials are in the environment of this process and all others.
var credentials = map[string]string{
	"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_SESSION_TOKEN": "", "AWS_REGION": "us-east-1", "AWS_PROFILE": "",
	"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
}

// process is this program with the arguments of a child.
func process(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{childArgument}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// server is a process with a canned server.
type server struct {
	url string
	cmd *exec.Cmd
	in  io.Closer
}

func startServer(ctx context.Context, items, size int, latency time.Duration) (*server, error) {
	cmd, err := process(ctx, "-do", "serve", "-items", strconv.Itoa(items), "-size", strconv.Itoa(size), "-latency", latency.String())
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s := &server{url: strings.TrimSpace(line), cmd: cmd, in: in}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), s.stop())
	}
	return s, nil
}

func (s *server) stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// measure has a process do a job several times, and returns the outcome that took the least processor time.
func (s *suite) measure(ctx context.Context, what string, args ...string) (best outcome, err error) {
	for round := range s.rounds {
		cmd, err := process(ctx, append([]string{"-do", what}, args...)...)
		if err != nil {
			return outcome{}, err
		}
		out, err := cmd.Output()
		if err != nil {
			return outcome{}, fmt.Errorf("%s: %w", what, err)
		}
		var one outcome
		if err := json.Unmarshal(out, &one); err != nil {
			return outcome{}, fmt.Errorf("%s: read its outcome: %w", what, err)
		}
		if round == 0 || one.ProcessorSeconds < best.ProcessorSeconds {
			best = one
		}
		_, _ = fmt.Fprintf(s.log, "%s %s: %.2f s of processor time\n", what, strings.Join(args, " "), one.ProcessorSeconds)
	}
	return best, nil
}

// add takes in a figure, with its processor time per item beside that of a yardstick.
func (s *suite) add(f figure, yardstick *figure) {
	if yardstick != nil {
		f.Ratio, f.Of = f.perItem()/yardstick.perItem(), yardstick.What
	}
	s.figures = append(s.figures, f)
}

// client measures the processor time of each job beside that of the plain loop, for items of several sizes. The rest of a process,
// start and end, is in the figures, and little of so many items.
func (s *suite) client(ctx context.Context) error {
	for _, c := range []struct{ size, items int }{{100, 400_000}, {600, 300_000}, {4096, 60_000}, {100 << 10, 3_000}} {
		server, err := startServer(ctx, c.items, c.size, 0)
		if err != nil {
			return err
		}
		err = s.clientAt(ctx, server.url, c.size, c.items)
		if err := errors.Join(err, server.stop()); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) clientAt(ctx context.Context, url string, size, items int) error {
	var plain *figure
	for _, what := range []string{"plain", plainAsIs, "seed, no recheck", "seed", "verify", "floor"} {
		out, err := s.measure(ctx, what, "-url", url, "-calls", strconv.Itoa(items/batchSize))
		if err != nil {
			return err
		}
		f := figure{Part: "client", What: what, Items: items, Size: size, outcome: out}
		s.add(f, plain)
		if plain == nil {
			plain = &f
		}
	}
	// A shard of a stream is read four times a second, a thousand records at a time: fewer of them will do.
	records := items / 20
	server, err := startServer(ctx, records, size, 0)
	if err != nil {
		return err
	}
	out, err := s.measure(ctx, "replicate", "-url", server.url)
	if err := errors.Join(err, server.stop()); err != nil {
		return err
	}
	s.add(figure{Part: "client", What: "replicate", Items: records, Size: size, outcome: out}, plain)
	return nil
}

// scaling shows what time and memory do with the number of items, the number of segments and the latency.
func (s *suite) scaling(ctx context.Context) error {
	most := 1_000_000
	if s.long {
		most = 10_000_000
	}
	for items := 10_000; items <= most; items *= 10 {
		for _, what := range []string{"seed", "verify"} {
			if err := s.scale(ctx, what, items, 16, 0); err != nil {
				return err
			}
		}
	}
	for _, segments := range []int{1, 4, 16, 64} {
		for _, latency := range []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond} {
			if err := s.scale(ctx, "seed", 100_000, segments, latency); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) scale(ctx context.Context, what string, items, segments int, latency time.Duration) error {
	const size = 600
	server, err := startServer(ctx, items, size, latency)
	if err != nil {
		return err
	}
	out, err := s.measure(ctx, what, "-url", server.url, "-segments", strconv.Itoa(segments))
	if err := errors.Join(err, server.stop()); err != nil {
		return err
	}
	s.add(figure{Part: "scaling", What: fmt.Sprintf("%s, %d segments, %s", what, segments, latency), Items: items, Size: size, outcome: out}, nil)
	return nil
}
