package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// binary is the program that the tests run, built with the race detector, which makes it exit with 66 if it finds something.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for processes, engine and clock rather than for a processor.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	folder, err := os.MkdirTemp("", "reseal-cmd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make temporary folder:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary = filepath.Join(folder, "reseal")
	if out, err := exec.Command("go", "build", "-race", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build reseal: %v\n%s", err, out)
		return 1
	}
	return testkit.Main(m)
}

// patience is how long a process, or something that a test waits for, may take before the test fails.
var patience = 90 * time.Second

func init() {
	if os.Getenv("RESEAL_LONG") != "" {
		patience = time.Hour
	}
}

// command is a command line to be run.
type command struct {
	args   []string
	folder string   // working folder; "": a new one
	env    []string // beside what the process gets anyway; a name without "=" takes one away
	stdout io.Writer
	home   bool // leave it the user's own home folder, where the installed engine is
}

// process is a command line that has been started.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	folder string
	out    bytes.Buffer
	err    watched
	ended  chan struct{} // closed when it has ended
}

// outcome is what a process leaves behind.
type outcome struct {
	t              *testing.T
	status         int // -1: ended by a signal
	stdout, stderr string
	folder         string
}

// start starts a process in a clean environment. It is killed, and the test fails, if it takes too long.
func start(t *testing.T, c command) *process {
	t.Helper()
	p := &process{t: t, folder: c.folder, ended: make(chan struct{})}
	if p.folder == "" {
		p.folder = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, binary, c.args...)
	p.cmd.Dir = p.folder
	p.cmd.Env = c.environment(t)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if c.stdout != nil {
		p.cmd.Stdout = c.stdout
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start reseal: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is read from ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
	})
	return p
}

func (c command) environment(t *testing.T) []string {
	env := []string{
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
		"GORACE=atexit_sleep_ms=0", // a second at each end otherwise
	}
	if c.home {
		env = append(os.Environ(), env...)
	} else {
		env = append(env, "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"))
	}
	for _, one := range c.env {
		name, _, gives := strings.Cut(one, "=")
		env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		if gives {
			env = append(env, one)
		}
	}
	return env
}

// await waits until the process has ended.
func (p *process) await() outcome {
	p.t.Helper()
	<-p.ended
	o := outcome{t: p.t, status: p.cmd.ProcessState.ExitCode(), stdout: p.out.String(), stderr: p.err.String(), folder: p.folder}
	if strings.Contains(o.stderr, "DATA RACE") {
		p.t.Fatalf("data race:\n%s", o.stderr)
	}
	return o
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatalf("send %s: %v", signal, err)
	}
}

// reach waits for something that the process must do before it ends.
func (p *process) reach(what string, event <-chan struct{}) {
	p.t.Helper()
	select {
	case <-event:
	case <-p.ended:
		p.t.Fatalf("the process ended before %s: %s", what, p.await())
	}
}

// reseal runs a command line to its end.
func reseal(t *testing.T, args ...string) outcome {
	t.Helper()
	return start(t, command{args: args}).await()
}

func (o outcome) String() string {
	return fmt.Sprintf("status %d\nstdout: %q\nstderr: %q", o.status, o.stdout, o.stderr)
}

// want expects an exit status.
func (o outcome) want(status int) outcome {
	o.t.Helper()
	if o.status != status {
		o.t.Fatalf("want status %d, got %s", status, o)
	}
	return o
}

// says expects nothing on stdout, and on stderr one line with the given parts.
func (o outcome) says(parts ...string) outcome {
	o.t.Helper()
	text := o.stderr
	if o.status == exitInterrupted { // said when the signal came, if the work didn't end before
		if first, rest, _ := strings.Cut(text, "\n"); strings.HasPrefix(first, "reseal: stopping") {
			text = rest
		}
	}
	line, isLine := strings.CutSuffix(text, "\n")
	if o.stdout != "" || !isLine || strings.ContainsAny(line, "\r\n") || !strings.HasPrefix(line, "reseal: ") {
		o.t.Errorf("want nothing on stdout and one line on stderr, got %s", o)
	}
	for _, part := range parts {
		if !strings.Contains(line, part) {
			o.t.Errorf("want %q on stderr, got %s", part, o)
		}
	}
	return o
}

// object expects one JSON object on one line, and nothing else, on stdout.
func (o outcome) object() map[string]any {
	o.t.Helper()
	if strings.Count(o.stdout, "\n") != 1 || !strings.HasSuffix(o.stdout, "}\n") {
		o.t.Fatalf("want one line of JSON on stdout, got %s", o)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &object); err != nil {
		o.t.Fatalf("want a JSON object on stdout: %v: %s", err, o)
	}
	return object
}

// has expects values in a JSON object. Numbers are float64.
func has(t *testing.T, object map[string]any, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if got, is := object[name]; !is || got != value {
			t.Errorf("%s: got %v, want %v", name, got, value)
		}
	}
}

// watched is a buffer that tells when a text has come.
type watched struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	awaited map[string]chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buffer.Write(b)
	for text, seen := range w.awaited {
		if bytes.Contains(w.buffer.Bytes(), []byte(text)) {
			close(seen)
			delete(w.awaited, text)
		}
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buffer.String()
}

// seen returns a channel that is closed when the text has come.
func (w *watched) seen(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(chan struct{})
	if bytes.Contains(w.buffer.Bytes(), []byte(text)) {
		close(seen)
		return seen
	}
	if w.awaited == nil {
		w.awaited = map[string]chan struct{}{}
	}
	w.awaited[text] = seen
	return seen
}

// tables is a source with a stream and items, an empty encrypted target, and a proxy in front of each.
type tables struct {
	t                        *testing.T
	db                       *dynamodb.Client // to the engine itself
	source, target           string
	sourceProxy, targetProxy *testkit.Proxy
}

func newTables(t *testing.T, items int) *tables {
	t.Helper()
	url := testkit.Engine(t)
	ts := &tables{t: t, db: testkit.Client(url), sourceProxy: testkit.NewProxy(t, url), targetProxy: testkit.NewProxy(t, url)}
	ts.source = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S"})
	ts.target = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S"})
	testkit.Fill(t, ts.db, ts.source, numbered(items))
	testkit.EnableStream(t, ts.db, ts.source, types.StreamViewTypeNewAndOldImages)
	return ts
}

func numbered(n int) []map[string]types.AttributeValue {
	items := make([]map[string]types.AttributeValue, n)
	for i := range items {
		items[i] = testkit.Item("id", fmt.Sprintf("item-%05d", i), "v", i)
	}
	return items
}

// args is a command line on the tables, each through its proxy.
func (ts *tables) args(name string, more ...string) []string {
	return append([]string{
		name, "--source", ts.source, "--target", ts.target,
		"--source-endpoint-url", ts.sourceProxy.URL, "--target-endpoint-url", ts.targetProxy.URL,
	}, more...)
}

func (ts *tables) run(name string, more ...string) outcome {
	ts.t.Helper()
	return reseal(ts.t, ts.args(name, more...)...)
}

func (ts *tables) mustBeEqual() {
	ts.t.Helper()
	if lines := testkit.Diff(ts.t, ts.db, ts.source, ts.db, ts.target); lines != nil {
		ts.t.Errorf("the tables differ: %q", lines)
	}
}

// damage makes one item of the target missing, one extra and one different.
func (ts *tables) damage() {
	ts.t.Helper()
	testkit.Delete(ts.t, ts.db, ts.target, testkit.Item("id", "item-00000"))
	testkit.Put(ts.t, ts.db, ts.target, testkit.Item("id", "item-00001", "v", "changed"))
	testkit.Put(ts.t, ts.db, ts.target, testkit.Item("id", "item-extra", "v", 1))
}

// exists tells whether there is such a file in the process's folder.
func (o outcome) exists(name string) bool {
	o.t.Helper()
	_, err := os.Stat(filepath.Join(o.folder, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.t.Fatal(err)
	}
	return err == nil
}
