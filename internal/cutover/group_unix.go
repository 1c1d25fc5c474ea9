//go:build unix

package cutover

import (
	"os/exec"
	"syscall"
)

// ownGroup has the command, and what it starts, be a group of its own: a signal of the terminal's doesn't reach it, and it is killed as a
// whole.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
