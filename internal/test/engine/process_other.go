//go:build !linux

package engine

import "syscall"

// sysProcAttr has nothing to add here: no other system lets a child end with its parent.
func sysProcAttr() *syscall.SysProcAttr { return nil }
