package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"reseal/internal/test/install"
)

const (
	// startTimeout is how long an engine may take until it answers. It takes some 50 ms on an idle machine.
	startTimeout = 20 * time.Second
	// startAttempts is how many ports are tried if each turns out to be taken.
	startAttempts = 5
	// pollInterval is the time between two looks at an engine that is starting.
	pollInterval = 10 * time.Millisecond
)

// errPortTaken is a start that failed because another process got the port first.
var errPortTaken = errors.New("port taken")

// Engine is a running engine. Its tables are in memory and go with it.
type Engine struct {
	url    string
	cancel context.CancelFunc
	output *tail
	done   chan struct{} // closed when the process has been waited for
	err    error         // why it ended by itself; nil if it was stopped; readable once done is closed
}

// Start runs dynoxide, at the path binary, as Program.Start does.
func Start(ctx context.Context, binary string) (*Engine, error) {
	return Program{
		Path:  binary,
		Args:  func(port string) []string { return []string{"serve", "--host", "127.0.0.1", "--port", port} },
		Ready: "listening on ",
	}.Start(ctx)
}

// Program is how an engine is run.
type Program struct {
	Path  string
	Args  func(port string) []string
	Env   []string // beside this process's own
	Ready string   // what it says before its URL once it listens
}

// Start runs the engine on a free port of 127.0.0.1 and returns when it answers. The engine runs until Stop is called or ctx ends,
// whichever is first.
//
// It fails if the program can't be run, if it ends at once (the error holds the last of its output, in one line),
// if it doesn't answer within 20 s, and with ctx's error.
func (p Program) Start(ctx context.Context) (*Engine, error) {
	var err error
	for range startAttempts {
		var e *Engine
		if e, err = p.start(ctx); err == nil {
			return e, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, fmt.Errorf("start local engine: %w", err)
}

// URL returns the engine's address, to be given to an SDK client as its base endpoint.
func (e *Engine) URL() string { return e.url }

// Stop ends the engine and waits until it is gone. It may be called more than once and at the same time. It
// fails, each time alike, only if the engine had ended by itself before.
func (e *Engine) Stop() error {
	e.cancel()
	<-e.done
	return e.err
}

// start makes one attempt on one port. It fails with errPortTaken if that was the reason.
func (p Program) start(ctx context.Context) (*Engine, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	e := &Engine{
		url:    "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		cancel: cancel,
		output: &tail{},
		done:   make(chan struct{}),
	}
	cmd := exec.CommandContext(run, p.Path, p.Args(strconv.Itoa(port))...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = e.output, e.output
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = 2 * time.Second

	started := make(chan error, 1)
	go e.supervise(run, cmd, started)
	if err := <-started; err != nil {
		return nil, err
	}
	if err := e.awaitReady(ctx, p.Ready+e.url); err != nil {
		_ = e.Stop() // It can only say what err says already.
		if strings.Contains(strings.ToLower(e.output.String()), "already in use") {
			return nil, fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return nil, err
	}
	return e, nil
}

// supervise starts the process, tells started how that went, and waits for the process.
//
// It keeps its operating system thread from start to end: on Linux the engine is killed by the kernel when the
// thread that started it ends (see sysProcAttr), and Go would end an idle thread whenever it likes.
func (e *Engine) supervise(run context.Context, cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer e.cancel()
	defer close(e.done)

	if err := cmd.Start(); err != nil {
		started <- fmt.Errorf("run engine: %w", err)
		return
	}
	started <- nil
	err := cmd.Wait()
	if run.Err() != nil {
		return // It was stopped.
	}
	reason := "exit status 0"
	if err != nil {
		reason = err.Error()
	}
	e.err = fmt.Errorf("engine ended by itself: %s: %s", reason, install.OneLine(e.output.String()))
}

// awaitReady waits until the engine answers. It asks only once the engine has said that it listens: an answer
// alone could be that of another process, which holds the port that the engine fails to get.
func (e *Engine) awaitReady(ctx context.Context, ready string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("no answer from the engine within %s", startTimeout))
	defer cancel()
	transport := &http.Transport{} // No proxy: the engine is on this machine.
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if strings.Contains(e.output.String(), ready) && answers(ctx, client, e.url) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-e.done:
			if e.err != nil {
				return e.err
			}
			<-ctx.Done() // Nothing else stops an engine that nobody has yet.
			return context.Cause(ctx)
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), install.OneLine(e.output.String()))
		}
	}
}

// answers tells whether there is an HTTP answer, whatever it says, within a second.
func answers(ctx context.Context, client *http.Client, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// freePort returns a port of 127.0.0.1 that nothing listened on a moment ago.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return port, nil
}
