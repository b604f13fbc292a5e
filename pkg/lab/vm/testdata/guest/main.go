// Command guest is /init of the end-to-end tests: it does what the kernel
// argument guest= says and reports on the console.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	for fs, at := range map[string]string{"devtmpfs": "/dev", "proc": "/proc", "sysfs": "/sys"} {
		_ = os.MkdirAll(at, 0o755)
		_ = unix.Mount(fs, at, fs, 0, "")
	}
	cmdline, _ := os.ReadFile("/proc/cmdline")
	what := ""
	for _, word := range strings.Fields(string(cmdline)) {
		if v, ok := strings.CutPrefix(word, "guest="); ok {
			what = v
		}
	}
	_, err := os.Stat("/sys/firmware/efi")
	serial, _ := os.ReadFile("/sys/class/nvme/nvme0/serial")
	product, _ := os.ReadFile("/sys/class/dmi/id/product_name")
	say("up guest=%s efi=%v nvme=%s product=%s", what, err == nil, strings.TrimSpace(string(serial)), strings.TrimSpace(string(product)))
	switch what {
	case "write":
		check(write())
		say("written")
		check(unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
	case "button":
		check(button())
		say("button pressed")
		check(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	case "panic":
		os.Exit(1) // the end of init is a panic
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		say("heard %s", lines.Text())
	}
	for {
		time.Sleep(time.Hour)
	}
}

func say(format string, args ...any) { fmt.Printf("guest: "+format+"\n", args...) }

func check(err error) {
	if err != nil {
		say("error: %v", err)
		for {
			time.Sleep(time.Hour)
		}
	}
}

// write puts the boot sector and a pattern on the disk.
func write() error {
	f, err := os.OpenFile("/dev/nvme0n1", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	sector, err := os.ReadFile("/sector")
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(sector, 0); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for i := range 8 {
		if _, err := f.WriteAt(block, int64(i+1)<<20); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// button waits for the power button (input event KEY_POWER).
func button() error {
	for _, name := range []string{"/button.ko", "/evdev.ko"} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for range 100 {
		names, _ := os.ReadDir("/sys/class/input")
		for _, n := range names {
			label, _ := os.ReadFile("/sys/class/input/" + n.Name() + "/device/name")
			if strings.HasPrefix(n.Name(), "event") && strings.TrimSpace(string(label)) == "Power Button" {
				return press("/dev/input/" + n.Name())
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("no power button")
}

func press(dev string) error {
	f, err := os.Open(dev)
	if err != nil {
		return err
	}
	say("waits for the button")
	event := make([]byte, 24)
	for {
		if _, err := f.Read(event); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(event[16:]) == 1 && binary.LittleEndian.Uint16(event[18:]) == 116 {
			return nil
		}
	}
}
