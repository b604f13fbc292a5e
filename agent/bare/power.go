package bare

import (
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// PowerButton waits for the power button and calls off, once.
func PowerButton(ctx context.Context, log *slog.Logger, off func()) {
	// The driver may come with a module that is not loaded yet; some machines
	// have no button.
	appear, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	buttons := WaitFor(appear, func() []string {
		var out []string
		names, _ := filepath.Glob("/sys/class/input/event*/device/name")
		for _, n := range names {
			if b, err := os.ReadFile(n); err == nil && strings.Contains(string(b), "Power Button") {
				out = append(out, "/dev/input/"+filepath.Base(filepath.Dir(filepath.Dir(n))))
			}
		}
		return out
	})
	for _, dev := range buttons {
		go func() {
			f, err := os.Open(dev)
			if err != nil {
				return
			}
			defer f.Close()
			// struct input_event of 64-bit Linux: two longs of time, then type,
			// code and value.
			b := make([]byte, 24)
			for {
				if _, err := f.Read(b); err != nil {
					return
				}
				kind, code, value := binary.LittleEndian.Uint16(b[16:]), binary.LittleEndian.Uint16(b[18:]), binary.LittleEndian.Uint32(b[20:])
				if kind == 1 && code == 116 && value == 1 { // EV_KEY, KEY_POWER, down
					log.Info("the power button was pressed: powering off")
					off()
				}
			}
		}()
	}
}
