package rig

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a child of this process.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // set before exited closes
}

// Start starts a child. The thread that starts it waits for it too, since the
// child is killed when that thread ends (PR_SET_PDEATHSIG).
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	// A group of its own: an interrupt from the keyboard is for the parent, which
	// ends its children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	return p, <-started
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the child is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Kill sends SIGKILL and returns when the child is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already is what is wanted
	<-p.exited
}

// Stop asks the child to end, and kills it if it has not after so long.
func (p *Process) Stop(patience time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.exited
}
