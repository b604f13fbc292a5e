package simbmc

import (
	"context"
	"net"
	"testing"
	"time"
)

const (
	testUser     = "root"
	testPassword = "calvin-0123456789ab" // 19 of the 20 bytes that IPMI 2.0 takes
)

func testInfo() Info {
	return Info{
		UUID:         "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101",
		Name:         "m1",
		Manufacturer: "Ingot Lab",
		Model:        "Memory",
		Serial:       "LAB0001",
		MACs:         []string{"52:54:00:00:00:01", "52:54:00:00:00:02"},
		CPUs:         8,
		Sockets:      2,
		Cores:        4,
		CPUModel:     "Pretend Processor 2C",
		MemoryMiB:    16384,
		Disks: []Disk{
			{Vendor: "Ingot", Model: "Pretend NVMe", Serial: "LAB0001-D0", SizeBytes: 960e9, Protocol: "NVMe", Media: "SSD"},
			{SizeBytes: 8e12},
		},
	}
}

// bench is one BMC over a pretended machine.
type bench struct {
	*BMC
	body    *Memory
	journal *Journal
	starts  chan BootOverride
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	s := &bench{journal: NewJournal(nil, nil), starts: make(chan BootOverride, 64)}
	s.body = NewMemory(testInfo(), ModeUEFI, func(o BootOverride) { s.starts <- o }, nil)
	cfg := Config{Username: testUser, Password: testPassword, Journal: s.journal}
	if change != nil {
		change(&cfg)
	}
	s.BMC = New(s.body, cfg)
	t.Cleanup(s.Close)
	return s
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// serveIPMI serves the IPMI face on loopback and returns its address.
func (s *bench) serveIPMI(t *testing.T) *net.UDPAddr {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.ServeIPMI(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeIPMI: %v", err)
		}
	})
	return conn.LocalAddr().(*net.UDPAddr)
}

// serveRedfish serves the Redfish face on loopback, plain, and returns its URL.
func (s *bench) serveRedfish(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.ServeRedfish(ctx, ln, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeRedfish: %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

func (s *bench) details(kinds ...string) []string {
	var list []string
	for _, e := range s.journal.Entries("m1", kinds...) {
		list = append(list, e.Detail)
	}
	return list
}
