package engine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// helperBinary names the variable that turns this test binary into the process that TestEngineEndsWithItsParent
// kills. Its value is the path of the engine.
const helperBinary = "RESEAL_TEST_HELPER_BINARY"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperBinary); path != "" {
		helper(path)
	}
	os.Exit(m.Run())
}

func TestEngineEndsWithItsParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperBinary+"="+binary(t))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	url := strings.TrimSpace(line)
	// Idle threads of the helper have had time to end: the engine must outlive them.
	time.Sleep(200 * time.Millisecond)
	if readErr != nil || !alive(t, url) {
		t.Errorf("the engine doesn't run: %q, %v", url, readErr)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
	for deadline := time.Now().Add(10 * time.Second); alive(t, url); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the engine has outlived its parent by 10 s")
		}
	}
}

// helper starts an engine, says where, and waits to be killed.
func helper(path string) {
	e, err := Start(context.Background(), path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(e.URL())
	time.Sleep(time.Minute)
	os.Exit(0)
}
