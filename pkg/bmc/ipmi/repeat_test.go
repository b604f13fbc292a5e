package ipmi

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// late relays datagrams to a BMC. It keeps the answer to the first RAKP message 1
// until that is asked again, as a BMC does that is slower than its client.
func late(t *testing.T, to string) string {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { front.Close(); back.Close(); wg.Wait() })
	var mu sync.Mutex
	var client net.Addr
	var asked int // RAKP messages 1
	var kept []byte
	const kind = 5 // byte of a datagram (IPMI 2.0, table 13-8)
	wg.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			client = from
			if n > kind && b[kind] == payloadRAKP1 {
				asked++
			}
			mu.Unlock()
			_, _ = back.Write(b[:n])
		}
	})
	wg.Go(func() {
		b := make([]byte, 1500)
		for {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			switch {
			case n > kind && b[kind] == payloadRAKP2 && asked == 1 && kept == nil:
				kept = append([]byte(nil), b[:n]...)
			case n > kind && b[kind] == payloadRAKP2 && kept != nil:
				_, _ = front.WriteTo(kept, client)
				kept = nil
			default:
				_, _ = front.WriteTo(b[:n], client)
			}
			mu.Unlock()
		}
	})
	return front.LocalAddr().String()
}

// A BMC that was asked twice, and answers for what it was asked first, does not
// make good credentials look bad.
func TestSlowKeyExchange(t *testing.T) {
	_, addr := goServer(t)
	slow := parseAddress(t, "ipmi://"+late(t, net.JoinHostPort(addr.Host, strconv.Itoa(addr.Port))))
	m, err := Open(t.Context(), slow, admin, Options{Pause: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(t.Context()) }()
	if _, err := m.PowerState(t.Context()); err != nil {
		t.Error(err)
	}
}
