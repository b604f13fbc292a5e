package vm

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

var _ simbmc.SerialBody = (*Machine)(nil)

func TestAttachReadsWhatIsNew(t *testing.T) {
	l, err := openSerial(filepath.Join(t.TempDir(), "serial.log"), 64)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.append([]byte("before\n"))
	a, err := l.attach()
	if err != nil {
		t.Fatal(err)
	}
	line := "thirty bytes, so it is rotated\n"
	got := make([]byte, len(line))
	for range 6 { // over the bound, more than once
		l.append([]byte(line))
		if _, err := io.ReadFull(a, got); err != nil || string(got) != line {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	if _, err := io.WriteString(a, "x"); err == nil || !strings.Contains(err.Error(), "off") {
		t.Errorf("typed into a machine that is off: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := a.Read(got); err == nil {
		t.Error("read after close")
	}
}
