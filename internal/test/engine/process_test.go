package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// binary returns the path of the engine, installed if need be.
func binary(t *testing.T) string {
	t.Helper()
	installed, err := Install(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return installed.Binary
}

// alive tells whether something answers at the URL.
func alive(t *testing.T, url string) bool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return answers(t.Context(), client, url)
}

func TestStart(t *testing.T) {
	e, err := Start(t.Context(), binary(t))
	if err != nil {
		t.Fatal(err)
	}
	client := dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(e.URL()),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	out, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.TableNames) > 0 {
		t.Errorf("a new engine has tables: %v", out.TableNames)
	}

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := e.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := e.Stop(); err != nil {
		t.Errorf("once more: %v", err)
	}
	if alive(t, e.URL()) {
		t.Error("it still answers")
	}
}

func TestStartSeveral(t *testing.T) {
	path := binary(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			e, err := Start(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := e.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestContextStopsEngine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e, err := Start(ctx, binary(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-e.done
	if alive(t, e.URL()) {
		t.Error("it still answers")
	}
	if err := e.Stop(); err != nil {
		t.Errorf("stop afterwards: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, script string
		words        []string
	}{
		{"exits", "echo first; echo second >&2; exit 3", []string{"exit status 3", "first | second"}},
		{"exits well", "echo usage", []string{"exit status 0", "usage"}},
		{"is silent", "exit 1", []string{"exit status 1", "(no output)"}},
		{"talks a lot", "seq 1 1000; exit 1", []string{": 981 | 982", "| 1000"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(test.name, " ", "-"))
			writeScript(t, path, test.script)
			_, err := Start(t.Context(), path)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q doesn't say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
		})
	}
	t.Run("isn't there", func(t *testing.T) {
		_, err := Start(t.Context(), filepath.Join(dir, "none"))
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
}

func TestStartCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mute")
	writeScript(t, path, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestStartTriesAnotherPort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "unlucky")
	// Only one mkdir of a folder succeeds, so the first two runs fail.
	writeScript(t, path, fmt.Sprintf(`if mkdir %[1]s/1 2>/dev/null || mkdir %[1]s/2 2>/dev/null; then
	echo "error: port $5 is already in use (detected listener on $3:$5)" >&2
	exit 1
fi
exec %[2]s "$@"
`, dir, binary(t)))
	e, err := Start(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "2")); err != nil {
		t.Error("it didn't run three times")
	}
}

func TestStartRunsOutOfPorts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "unlucky")
	writeScript(t, path, "echo run >> "+dir+"/runs; echo 'error: port is already in use'; exit 1")
	if _, err := Start(t.Context(), path); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("error %v", err)
	}
	runs, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(runs), "run"); n != startAttempts {
		t.Errorf("tried %d times", n)
	}
}

func TestStopReportsEarlierEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mortal")
	writeScript(t, path, fmt.Sprintf("echo $$ > %s/pid; exec %s \"$@\"", dir, binary(t)))
	e, err := Start(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-e.done
	for range 2 {
		if err := e.Stop(); err == nil || !strings.Contains(err.Error(), "ended by itself: signal: killed") {
			t.Errorf("error %v", err)
		}
	}
}
