package fleet

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// BenchmarkThousandMachines serves 1,000 machines, keeps one connection open to
// each Redfish face, and prints what a machine takes of this process, which holds
// the clients too.
func BenchmarkThousandMachines(b *testing.B) {
	const count = 1000
	before := rss(b)
	for range b.N {
		f, err := New(Config{
			Count: count, Seed: 1, BootURL: "http://192.0.2.1:6180",
			Protocols: []Protocol{RedfishHTTP, IPMI}, Journal: simbmc.NewJournal(nil, nil),
		})
		if err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConns: count}}
		for _, m := range f.Machines() {
			if strings.HasPrefix(m.Address, string(IPMI)) {
				continue
			}
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, strings.Replace(m.Address, "redfish+http", "http", 1), nil)
			if err != nil {
				b.Fatal(err)
			}
			req.SetBasicAuth(m.Username, m.Password)
			res, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			_ = res.Body.Close()
		}
		b.ReportMetric(float64(rss(b)-before)/count, "rss-bytes/machine")
		client.CloseIdleConnections()
		f.Close()
	}
}

// rss is the resident set of this process in bytes.
func rss(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here")
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	b.Skip("no VmRSS")
	return 0
}
