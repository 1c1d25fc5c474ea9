package cutover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Hook is a command of the user's, for a shell.
type Hook struct {
	Flag    string // the option that it came with, for messages
	Command string
	Environ []string // added to this process's own
	Output  io.Writer
	Limit   time.Duration // 0: the context's alone
}

// killDelay is how long output of a killed command's children is waited for.
const killDelay = 2 * time.Second

// Run runs it, and what it has begun ends with it if the time does.
func (h Hook) Run(ctx context.Context) error {
	if h.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.Limit)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", h.Command) //nolint:gosec // it is the user's own
	cmd.Env = append(os.Environ(), h.Environ...)
	cmd.Stdout, cmd.Stderr = h.Output, h.Output
	cmd.WaitDelay = killDelay
	ownGroup(cmd)
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s was stopped after %s: %w", h.Flag, time.Since(began).Round(100*time.Millisecond), ctx.Err())
	case errors.As(err, &exit):
		return fmt.Errorf("%s ended with %s", h.Flag, exit.ProcessState)
	case err != nil:
		return fmt.Errorf("run %s: %w", h.Flag, err)
	}
	return nil
}
