package vendorextra

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
)

// fakeBoard answers as the BMC of an ASRock Rack E3C246D4I-NL. Its answers are
// those of bmclib v2.3.5's own tests, providers/asrockrack/mock_test.go and
// fixtures/E3C246D4I-NL/sensors.json (first sensor), shortened. How it takes a
// power command is what the provider sends; unverified: no capture of the answer.
type fakeBoard struct {
	mu       sync.Mutex
	creds    bmc.Credentials
	power    int
	deaf     bool
	logins   []string // user name and password of each
	sessions map[string]bool
	commands []int
	requests []string
	answers  map[string]string // by path, in place of ours
	status   map[string]int
	silent   chan struct{}
}

func boardAnswers() map[string]string {
	return map[string]string{
		"/api/asrr/fw-info":        `{ "BMC_fw_version": "0.01.00", "BIOS_fw_version": "L2.07B", "ME_fw_version": "5.1.3.78", "Micro_Code_version": "000000ca", "CPLD_version": "N\/A", "CM_version": "0.13.01", "BPB_version": "0.0.002.0", "Node_id": "2" }`,
		"/api/asrr/inventory_info": `[ { "device_id": 1, "device_name": "CPU1", "device_type": "CPU", "product_manufacturer_name": "Intel(R) Corporation", "product_name": "Intel(R) Xeon(R) E-2278G CPU @ 3.40GHz", "product_part_number": "N\/A", "product_version": "N\/A", "product_serial_number": "N\/A", "product_asset_tag": "N\/A", "product_extra": "N\/A" }, { "device_id": 5, "device_name": "DDR4_A1", "device_type": "Memory", "product_manufacturer_name": "Micron", "product_name": "SODIMM", "product_part_number": "18ASF2G72HZ-2G6E1   ", "product_version": "N\/A", "product_serial_number": "2724B52D", "product_asset_tag": "N\/A", "product_extra": "2666 MT\/s  16GB" }, { "device_id": 105, "device_name": "Storage ", "device_type": "Storage device", "product_manufacturer_name": "N\/A", "product_name": "N\/A", "product_part_number": "INTEL SSDSC2KB480G8", "product_version": "N\/A", "product_serial_number": "PHYF001303ED480BGN", "product_asset_tag": "SATA_4", "product_extra": "N\/A" } ]`,
		"/api/fru":                 `[ { "device": { "id": 0, "name": "BMC_FRU" }, "chassis": { "version": 1, "length": 3, "type": "Main Server Chassis", "part_number": "", "serial_number": "K61206147700263", "custom_fields": "" }, "board": { "version": 1, "length": 7, "language": 0, "date": "Mon Jul 20 06:04:00 2020\\n", "manufacturer": "ASRockRack", "product_name": "E3C246D4I-NL", "serial_number": "197965920000514", "part_number": "", "fru_file_id": "", "custom_fields": "" }, "product": { "version": 1, "length": 7, "language": 0, "manufacturer": "Packet", "product_name": "c3.small.x86", "part_number": "Open19", "product_version": "R1.00", "serial_number": "D6S0R8000736", "asset_tag": "", "fru_file_id": "", "custom_fields": "" } } ]`,
		"/api/sensors":             `[ { "id": 1, "sensor_number": 1, "name": "3VSB", "owner_id": 32, "owner_lun": 0, "raw_reading": 112.000000, "type": "voltage", "type_number": 2, "reading": 3.360000, "sensor_state": 1, "discrete_state": 0, "settable_readable_threshMask": 13878, "accessible": 0, "unit": "V" } ]`,
		"/api/asrr/getbioscode":    `{ "poststatus": 1, "postdata": 160 }`,
	}
}

func (f *fakeBoard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := "/" + strings.TrimLeft(r.URL.Path, "/") // the provider writes some with two
	f.requests = append(f.requests, r.Method+" "+path)
	if f.silent != nil {
		f.mu.Unlock()
		<-f.silent
		f.mu.Lock()
	}
	if s := f.status[path]; s != 0 {
		w.WriteHeader(s)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if path == "/api/session" && r.Method == http.MethodPost {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.logins = append(f.logins, form.Get("username")+" "+form.Get("password"))
		if form.Get("username") != f.creds.Username || form.Get("password") != f.creds.Password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "QSESSIONID", Value: "94ed00f482249dd77arIcp6eBBJaik", Path: "/"})
		f.sessions["l5L29IP7"] = true
		_, _ = io.WriteString(w, `{ "ok": 0, "privilege": 4, "extendedpriv": 259, "racsession_id": 10, "remote_addr": "136.144.50.145", "server_name": "10.230.148.171", "server_addr": "10.230.148.171", "HTTPSEnabled": 1, "CSRFToken": "l5L29IP7" }`)
		return
	}
	if _, err := r.Cookie("QSESSIONID"); err != nil || !f.sessions[r.Header.Get("X-CSRFTOKEN")] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if answer, ok := f.answers[path]; ok {
		_, _ = io.WriteString(w, answer)
		return
	}
	switch path {
	case "/api/session":
		clear(f.sessions)
	case "/api/chassis-status":
		_ = json.NewEncoder(w).Encode(map[string]int{"power_status": f.power, "led_status": 0})
	case "/api/actions/power":
		var command struct {
			Command int `json:"power_command"`
		}
		_ = json.Unmarshal(body, &command)
		f.commands = append(f.commands, command.Command)
		if !f.deaf {
			f.power = map[int]int{0: 0, 5: 0, 1: 1, 2: 1, 3: 1}[command.Command]
		}
	default:
		if answer, ok := boardAnswers()[path]; ok {
			_, _ = io.WriteString(w, answer)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fakeBoard) look(see func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	see()
}

func boardServer(t *testing.T, f *fakeBoard) *httptest.Server {
	t.Helper()
	f.sessions = map[string]bool{}
	if f.creds == (bmc.Credentials{}) {
		f.creds = admin
	}
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	return s
}

func dialBoard(t *testing.T, f *fakeBoard) *board {
	t.Helper()
	return newBoard(addressOf(t, boardServer(t, f)), admin, quick())
}

func TestBoardReads(t *testing.T) {
	f := &fakeBoard{power: 1}
	conn, err := Open(t.Context(), ASRockRack, addressOf(t, boardServer(t, f)), admin, quick())
	if err != nil {
		t.Fatal(err)
	}
	id := bmctest.Read(t.Context(), t, conn)
	want := bmc.Identity{Protocol: "asrockrack", Manufacturer: "Packet", Model: "c3.small.x86", Serial: "D6S0R8000736", BMCVersion: "0.01.00"}
	if diff := cmp.Diff(want, id); diff != "" {
		t.Error(diff)
	}
	b := conn.(*board)
	inv, err := b.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(agent.Inventory{
		Vendor:   agent.Vendor{Manufacturer: "Packet", Product: "c3.small.x86", Serial: "D6S0R8000736", SKU: "Open19", BoardSerial: "197965920000514"},
		Firmware: agent.Firmware{Vendor: "ASRockRack", Version: "L2.07B", BMC: "0.01.00"},
		CPU:      agent.CPU{Arch: "x86_64", Model: "Intel(R) Xeon(R) E-2278G CPU @ 3.40GHz", Sockets: 1},
		Memory: agent.Memory{Physical: 16 << 30, Modules: []agent.Module{
			{Slot: "DDR4_A1", Size: 16 << 30, MTs: 2666, Vendor: "Micron", Serial: "2724B52D", Part: "18ASF2G72HZ-2G6E1"},
		}},
		Disks:   []agent.Disk{{Name: "storage-1", Vendor: "intel", Model: "INTEL SSDSC2KB480G8", Serial: "PHYF001303ED480BGN"}},
		Skipped: inv.Skipped,
	}, inv); diff != "" {
		t.Error(diff)
	}
	health, err := b.Health(t.Context())
	if diff := cmp.Diff(bmc.HealthReport{Status: "OK", Sensors: []bmc.Sensor{{Name: "POST code", Kind: "other", Value: 160, State: "grub/os"}}}, health); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if code, err := b.postCode(t.Context()); err != nil || code.Value != 160 {
		t.Errorf("POST code %+v, %v", code, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	f.look(func() {
		if len(f.logins) != 1 || len(f.sessions) != 0 {
			t.Errorf("%d logins and %d sessions left, want 1 and none", len(f.logins), len(f.sessions))
		}
	})
}

func TestBoardOrders(t *testing.T) {
	for _, tt := range []struct {
		action bmc.PowerAction
		deaf   bool
		want   []int
		class  bmc.Class
	}{
		{action: bmc.ActionOn, want: []int{1}},
		{action: bmc.ActionForceOff, want: []int{0}},
		{action: bmc.ActionSoftOff, want: []int{5}},
		{action: bmc.ActionReset, want: []int{3}},
		{action: bmc.ActionCycle, want: []int{2}},
		{action: bmc.ActionNMI, class: bmc.Unsupported},
		{action: bmc.ActionForceOff, deaf: true, want: []int{0}, class: bmc.Protocol},
	} {
		f := &fakeBoard{power: 1, deaf: tt.deaf}
		err := dialBoard(t, f).SetPower(t.Context(), tt.action)
		if (err == nil) != (tt.class == "") || err != nil && bmc.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %q", tt.action, err, tt.class)
		}
		f.look(func() {
			if !slices.Equal(f.commands, tt.want) {
				t.Errorf("%s: sent %v, want %v", tt.action, f.commands, tt.want)
			}
		})
	}
}

func TestBoardWrongPasswordOnce(t *testing.T) {
	f := &fakeBoard{creds: bmc.Credentials{Username: "admin", Password: "another"}}
	b := dialBoard(t, f)
	for range 3 {
		_, err := b.PowerState(t.Context())
		if bmc.ClassOf(err) != bmc.Auth || strings.Contains(err.Error(), "w0rd") {
			t.Fatalf("error %v, want one of class auth with nothing secret in it", err)
		}
	}
	f.look(func() {
		if len(f.logins) != 1 || len(f.requests) != 1 {
			t.Errorf("%v, want one login and nothing else", f.requests)
		}
	})
}

// A session that the BMC ended is made anew, and the order is sent once.
func TestBoardSessionEnds(t *testing.T) {
	f := &fakeBoard{power: 1}
	b := dialBoard(t, f)
	if _, err := b.PowerState(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.look(func() { clear(f.sessions) })
	if err := b.SetPower(t.Context(), bmc.ActionForceOff); err != nil {
		t.Fatal(err)
	}
	f.look(func() {
		if len(f.logins) != 2 || len(f.commands) != 1 {
			t.Errorf("%d logins and %d orders, want 2 and 1", len(f.logins), len(f.commands))
		}
		f.status = map[string]int{"/api/chassis-status": http.StatusUnauthorized}
	})
	if _, err := b.PowerState(t.Context()); bmc.ClassOf(err) != bmc.Forbidden {
		t.Errorf("a role without the right: %v", err)
	}
	f.look(func() {
		if len(f.logins) != 3 {
			t.Errorf("%d logins, want 3", len(f.logins))
		}
	})
}

func TestBoardHostile(t *testing.T) {
	for _, tt := range []struct {
		name, path, answer string
		status             int
		class              bmc.Class
	}{
		{name: "null where a part is expected", path: "/api/fru", answer: `[{"board": null}]`, class: bmc.Protocol}, // panics in the provider
		{name: "no JSON", path: "/api/fru", answer: "<html>", class: bmc.Protocol},
		{name: "wrong types", path: "/api/fru", answer: `[{"board": {"product_name": 7}}]`, class: bmc.Protocol},
		{name: "a deep tree", path: "/api/fru", answer: strings.Repeat("[", 100_000), class: bmc.Protocol},
		{name: "endless", path: "/api/fru", answer: strings.Repeat(" ", maxBody+1), class: bmc.Protocol},
		{name: "another board", path: "/api/fru", answer: `[{"board": {"product_name": "X570D4U"}}]`, class: bmc.Unsupported},
		{name: "a login that is none", path: "/api/session", status: http.StatusInternalServerError, class: bmc.Transient},
		{name: "sessions full", path: "/api/session", status: http.StatusServiceUnavailable, class: bmc.Busy},
		{name: "a redirect", path: "/api/session", status: http.StatusFound, class: bmc.Protocol},
		{name: "an unknown power state", path: "/api/chassis-status", answer: `{"power_status": 9}`, class: bmc.Protocol},
		{name: "no such path", path: "/api/chassis-status", status: http.StatusNotFound, class: bmc.Unsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeBoard{answers: map[string]string{}, status: map[string]int{}}
			if tt.status != 0 {
				f.status[tt.path] = tt.status
			} else {
				f.answers[tt.path] = tt.answer
			}
			b := dialBoard(t, f)
			if _, err := b.PowerState(t.Context()); err == nil || bmc.ClassOf(err) != tt.class {
				t.Errorf("class %q of %v, want %q", bmc.ClassOf(err), err, tt.class)
			}
			_ = b.Close(t.Context())
			f.look(func() {
				if len(f.sessions) != 0 && tt.path != "/api/fru" {
					t.Errorf("sessions left: %v", f.sessions)
				}
			})
		})
	}
}

func TestFactsAreBounded(t *testing.T) {
	var parts strings.Builder
	for range 200 {
		parts.WriteString(`{"device_type": "Memory", "product_extra": "1 MT/s 99999999999999999999GB"},{"device_type": "CPU"},{"device_type": "Storage device"},`)
	}
	f := &fakeBoard{answers: map[string]string{"/api/asrr/inventory_info": "[" + strings.TrimSuffix(parts.String(), ",") + "]"}}
	inv, err := dialBoard(t, f).Inspect(t.Context())
	if err != nil || len(inv.Disks) != maxParts || len(inv.Memory.Modules) != maxParts || inv.CPU.Sockets != maxParts || inv.Memory.Physical != 0 {
		t.Errorf("%d disks, %d modules, %d CPUs, %d bytes, %v", len(inv.Disks), len(inv.Memory.Modules), inv.CPU.Sockets, inv.Memory.Physical, err)
	}
}

// within a second of its end, whichever provider, and nothing is left behind.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
