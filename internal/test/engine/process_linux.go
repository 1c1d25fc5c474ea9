package engine

import "syscall"

// sysProcAttr makes the kernel kill the engine when the thread that started it ends, and with it when this
// process is killed and can't stop the engine itself. The engine gets a process group of its own, so that a
// Ctrl-C at the terminal reaches this process only, which stops the engine last.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
