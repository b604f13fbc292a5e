//go:build e2e

package vm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func count(t *testing.T, m *vm.Machine, text string) int {
	t.Helper()
	b, err := os.ReadFile(m.SerialPath())
	must(t, err)
	return strings.Count(string(b), text)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// serve hands out content on a listener of the lab's wire.
func serve(t *testing.T, l *lab, content []byte) string {
	t.Helper()
	ln, err := l.web.ListenTCP(0)
	must(t, err)
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL + "/boot.iso"
}
