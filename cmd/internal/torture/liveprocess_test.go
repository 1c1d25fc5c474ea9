package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
)

// liveProcess is a running program with a network of its own.
type liveProcess struct {
	r     *liveRun
	role  string
	cmd   *exec.Cmd
	ended chan struct{}
	// doomed is closed when the owner is to kill it.
	doomed chan struct{}
	// terminate ends the program, or has its owner do so. It and all above are set before the first request can come.
	terminate func()
	log       bytes.Buffer // stderr, and stdout

	mu       sync.Mutex // of what follows
	dead     bool
	writes   int // until it is killed; 0: it isn't
	underWay sync.WaitGroup
}

// kill is kill -9. A request that the process has sent is carried out, or never will be, when the wait for underWay is over.
func (p *liveProcess) kill() {
	p.mu.Lock()
	was := p.dead
	p.dead = true
	p.mu.Unlock()
	if !was {
		p.terminate()
	}
}

func (p *liveProcess) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// wrote is called when a write was carried out, of which the process doesn't know yet.
func (p *liveProcess) wrote() {
	p.mu.Lock()
	p.writes--
	last := p.writes == 0
	p.mu.Unlock()
	if last {
		p.r.count(p.role + " killed in a write")
		p.kill()
	}
}

var processEnvironment = []string{
	"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "HOME=/nonexistent",
}

// binary is the path of reseal or replicator, with the time-outs of the run.
func (r *liveRun) binary(name string) string {
	if r.plan.real {
		return program(r.t, name)
	}
	return program(r.t, "quick-"+name)
}

// commandLine is one of reseal's, but for the endpoints.
func (r *liveRun) commandLine(name string, more ...string) []string {
	return append([]string{name, "--source", r.source, "--target", r.target, "--no-progress", "--output", "json"}, more...)
}

// keep runs a command again and again until it has ended by itself, with one of the statuses that stand for that. The first runs
// are killed, stopped, or find the disk full. With done, a run is stopped when it is closed, and that is the end.
func (r *liveRun) keep(role, when string, done <-chan struct{}, args ...string) (status int, stdout []byte) {
	troubles := dice(r.plan.seed, "troubles of "+role+when, 0).IntN(r.plan.mostTroubles + 1)
	const most = 40
	for range most {
		n := r.ordinal("run of " + role + when)
		random := dice(r.plan.seed, "run of "+role+when, n)
		how := byItself
		if n < troubles {
			how = oneOf(random, killed, killed, killed, stopped, diskFull)
		}
		writes := 0
		if how == killed && chance(random, 0.6) {
			writes = 1 + random.IntN(8)
		}
		p := r.prepare(role, how == diskFull, writes, args)
		stdout, status = r.disturbed(p, how, between(random, 0, oneOf(random, 300*time.Millisecond, 2*time.Second)), done)
		switch {
		case hasEnded(done) && (status == 130 || status == 0):
			return 0, stdout
		case !p.isDead() && (status == 0 || status == 1 && (role == verifier || role == live)):
			return status, stdout
		case r.t.Context().Err() != nil:
			return status, stdout
		}
		r.count(role + " " + r.causeOf(p, how, status))
		if hasEnded(done) {
			return 0, stdout
		}
		r.pause(between(random, 0, 300*time.Millisecond))
	}
	r.fail("%s did not end in %d runs", role, most)
	return status, stdout
}

func hasEnded(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// prepare makes a process, with a proxy for each table.
func (r *liveRun) prepare(role string, full bool, writes int, args []string) *liveProcess {
	p := &liveProcess{r: r, role: role, ended: make(chan struct{}), doomed: make(chan struct{}), writes: writes}
	p.terminate = func() { close(p.doomed) }
	source, target := testkit.NewProxy(r.t, testkit.Engine(r.t)), testkit.NewProxy(r.t, testkit.Engine(r.t))
	args = append(append([]string{}, args...), "--source-endpoint-url", source.URL, "--target-endpoint-url", target.URL)
	if full { // no file may grow beyond a block: a write fails in the middle, as on a full disk
		p.cmd = exec.Command("sh", append([]string{"-c", `ulimit -f 1; exec "$0" "$@"`, r.binary("reseal")}, args...)...)
	} else {
		p.cmd = exec.Command(r.binary("reseal"), args...)
	}
	p.cmd.Dir = filepath.Join(r.folder, role)
	if err := os.MkdirAll(p.cmd.Dir, 0o700); err != nil {
		r.fail("%v", err)
	}
	p.cmd.Env = append([]string{"TMPDIR=" + p.cmd.Dir}, processEnvironment...)
	source.Use(p.hook("source"))
	target.Use(p.hook("target"))
	return p
}

// disturbed runs a process to its end and returns its exit status, -1 if it was killed.
func (r *liveRun) disturbed(p *liveProcess, how end, after time.Duration, done <-chan struct{}) (stdout []byte, status int) {
	var out bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &out, &p.log
	if err := p.cmd.Start(); err != nil {
		r.fail("start %s: %v", p.role, err)
		close(p.ended)
		return nil, 0
	}
	go func() {
		_ = p.cmd.Wait() // the status is read from ProcessState
		close(p.ended)
	}()
	if how == byItself || how == diskFull {
		after = 2 * time.Minute
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-p.doomed:
	case <-done:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	case <-r.t.Context().Done():
		p.kill()
	case <-timer.C:
		if how == stopped {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		} else {
			if how != killed {
				r.fail("%s did not end in %s", p.role, after)
			}
			p.kill()
		}
	}
	select {
	case <-p.ended:
	case <-p.doomed: // perhaps while it was stopping
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	p.mu.Lock()
	p.dead = p.dead || p.cmd.ProcessState.ExitCode() < 0
	p.mu.Unlock()
	if p.role == replicator {
		p.underWay.Wait()
	}
	return out.Bytes(), p.cmd.ProcessState.ExitCode()
}

// causeOf tells why a process ended, and fails the run if it wasn't for something that was planted.
func (r *liveRun) causeOf(p *liveProcess, how end, status int) string {
	log := p.log.String()
	switch {
	case p.isDead():
		return "killed"
	case status == 130 && how == stopped:
		return "stopped"
	case how == diskFull && strings.Contains(log, "file too large"):
		return "stopped by a full disk"
	case status == 3 && (strings.Contains(log, "AccessDeniedException") || strings.Contains(log, "gave up after")):
		return "failed"
	case status == 2 && p.role == replicator && strings.Contains(log, "can't be listed"): // a tailer that may not list the stream refuses
		return "failed"
	}
	r.fail("%s ended with status %d: %s", p.role, status, log)
	return "failed for another reason"
}

// mustFind runs a verification, disturbed, and expects its verdict and its report to be exact.
func (r *liveRun) mustFind(when string, want map[string]string) {
	status, stdout := r.keep(verifier, when, nil, r.commandLine("verify", "--checkpoint", "verify.json", "--report", "report.jsonl", "--settle", "300ms", "--segments", fmt.Sprint(r.plan.segments))...)
	var result struct{ Match, Resumed bool }
	if err := json.Unmarshal(stdout, &result); err != nil {
		r.fail("verify%s: %v: %s", when, err, stdout)
	}
	if expect := len(want) == 0 && !result.Resumed; result.Match != expect || (status == 0) != expect {
		r.fail("verify%s says match %t with status %d, there are %s", when, result.Match, status, someOf(want))
	}
	found, err := readReport(filepath.Join(r.folder, verifier, "report.jsonl"))
	if err != nil {
		r.fail("verify%s: %v", when, err)
	}
	for key, kind := range want {
		if found[key] != kind {
			r.fail("verify%s: %s is %s, found as %q", when, key, kind, found[key])
		}
	}
	for key, kind := range found {
		if want[key] == "" {
			r.fail("verify%s: %s is equal, found as %s", when, key, kind)
		}
	}
}

func readReport(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(string(data)) {
		var one struct {
			Key  json.RawMessage
			Kind string
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, err
		}
		key, err := attributevalue.UnmarshalMapJSON(one.Key)
		if err != nil {
			return nil, err
		}
		found[text(key)] = one.Kind
	}
	return found, nil
}
