package bare

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Halt ends the machine; it does not return.
func Halt(reboot bool) {
	unix.Sync()
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	if reboot {
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	_ = unix.Reboot(cmd)
	select {} // it cannot fail for PID 1; if it did, a panic would be worse
}

// WaitFor asks until there is an answer or ctx ends. sysfs cannot be waited on.
func WaitFor(ctx context.Context, ask func() []string) []string {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if out := ask(); len(out) > 0 {
			return out
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
