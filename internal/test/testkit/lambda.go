package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lambda is the service's side of a function: its runtime interface, for one invocation at a time, and an event source mapping that
// delivers stream records as the service does.
type Lambda struct {
	// Address is the value of AWS_LAMBDA_RUNTIME_API for the function's process.
	Address string
	// Timeout is what the function is given for an event.
	Timeout time.Duration
	// Start makes the process of the function, not started yet.
	Start func() *exec.Cmd

	t       testing.TB
	events  chan []byte
	answers chan lambdaAnswer

	mu      sync.Mutex
	process *lambdaProcess

	// Invocations, Crashes, Partial and Errors count how invocations ended.
	Invocations, Crashes, Partial, Errors int
}

type lambdaAnswer struct {
	body   []byte
	failed bool
}

type lambdaProcess struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// NewLambda starts the service, which ends with the test, and the function's process with it.
func NewLambda(t testing.TB) *Lambda {
	t.Helper()
	l := &Lambda{t: t, Timeout: 30 * time.Second, events: make(chan []byte), answers: make(chan lambdaAnswer, 1)}
	server := httptest.NewServer(l)
	l.Address = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() {
		l.Kill()
		server.CloseClientConnections()
		server.Close()
	})
	return l
}

// ServeHTTP is the runtime interface (Lambda developer guide, "Using the Lambda runtime API").
func (l *Lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process is gone
	}
	if strings.HasSuffix(r.URL.Path, "/invocation/next") {
		select {
		case event := <-l.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "request")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(l.Timeout).UnixMilli()))
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(event) // a process that is gone will be noticed
		case <-r.Context().Done():
		}
		return
	}
	w.WriteHeader(http.StatusAccepted)
	select {
	case l.answers <- lambdaAnswer{body: body, failed: strings.HasSuffix(r.URL.Path, "/error")}:
	case <-r.Context().Done():
	}
}

// ErrCrashed says that the function's process ended before it answered.
var ErrCrashed = errors.New("the function's process has ended")

// Invoke has the function handle the event. It starts a process if there is none. The error is ErrCrashed or what the function gave
// instead of an answer.
func (l *Lambda) Invoke(event []byte) ([]byte, error) {
	p, err := l.running()
	if err != nil {
		return nil, err
	}
	l.Invocations++
	select {
	case l.events <- event:
	case <-p.ended:
		return nil, ErrCrashed
	}
	select {
	case answer := <-l.answers:
		if answer.failed {
			return nil, fmt.Errorf("function error: %s", answer.body)
		}
		return answer.body, nil
	case <-p.ended:
		select {
		case <-l.answers: // of a process that was killed thereafter: as good as none
		default:
		}
		return nil, ErrCrashed
	}
}

func (l *Lambda) running() (*lambdaProcess, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process != nil {
		select {
		case <-l.process.ended:
		default:
			return l.process, nil
		}
	}
	p := &lambdaProcess{cmd: l.Start(), ended: make(chan struct{})}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start function: %w", err)
	}
	go func() {
		_ = p.cmd.Wait() // killed, mostly
		close(p.ended)
	}()
	l.process = p
	return p, nil
}

// Kill ends the function's process at once, and returns when it has ended.
func (l *Lambda) Kill() {
	l.mu.Lock()
	p := l.process
	l.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// Deliver hands over the records of one shard, in batches of the given size, as an event source mapping with BisectBatchOnFunctionError,
// ReportBatchItemFailures and no limit of retries does: what fails, comes again, from the first record that the function names on;
// after a function error or a crash, all of the batch, or half of it. It returns an error if nothing gets on for many invocations.
func (l *Lambda) Deliver(records []json.RawMessage, batch int) error {
	const patience = 50
	size, stuck := batch, 0
	for len(records) > 0 {
		if stuck == patience {
			return fmt.Errorf("nothing got on for %d invocations, %d records are left", patience, len(records))
		}
		stuck++
		n := min(size, len(records))
		event, err := json.Marshal(map[string]any{"Records": records[:n]})
		if err != nil {
			return err
		}
		answer, err := l.Invoke(event)
		switch {
		case errors.Is(err, ErrCrashed):
			l.Crashes++
		case err != nil:
			l.Errors++
			size = max(1, n/2)
		default:
			done, err := applied(records[:n], answer)
			if err != nil {
				return err
			}
			if done < n {
				l.Partial++
			}
			if done > 0 {
				stuck = 0
			}
			records, size = records[done:], batch
		}
	}
	return nil
}

// applied is how many records the answer says are done.
func applied(records []json.RawMessage, answer []byte) (int, error) {
	var response struct {
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(answer, &response); err != nil {
		return 0, fmt.Errorf("read answer %s: %w", answer, err)
	}
	done := len(records)
	for _, failure := range response.BatchItemFailures {
		at := -1
		for i, raw := range records {
			var record struct {
				Dynamodb struct{ SequenceNumber string }
			}
			if err := json.Unmarshal(raw, &record); err != nil {
				return 0, err
			}
			if record.Dynamodb.SequenceNumber == failure.ItemIdentifier {
				at = i
			}
		}
		if at < 0 { // the service takes such an answer for a failure of all
			return 0, nil
		}
		done = min(done, at)
	}
	return done, nil
}
