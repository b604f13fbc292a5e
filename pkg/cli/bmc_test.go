package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/scan"
	"github.com/ingot-metal/ingot/pkg/enroll"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/sushytools"
)

const (
	labUUID     = "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101"
	labPassword = "correct-horse"
)

// labBMC is a BMC on loopback: sushy-tools' answers over a pretended machine.
func labBMC(t *testing.T) (address string, body *simbmc.Memory) {
	t.Helper()
	body = simbmc.NewMemory(simbmc.Info{UUID: labUUID, Name: "m1", MACs: []string{"52:54:00:00:00:01"}, CPUs: 2, MemoryMiB: 2048}, simbmc.ModeUEFI, nil, nil)
	s, err := sushytools.New(sushytools.Options{Username: "admin", Password: labPassword}, body)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return "redfish+" + srv.URL, body
}

func TestBMCUsage(t *testing.T) {
	short := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(short, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	user := map[string]string{"INGOT_BMC_USERNAME": "admin"}
	both := map[string]string{"INGOT_BMC_USERNAME": "admin", "INGOT_BMC_PASSWORD": "x"}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		want string
	}{
		{name: "bmc alone", args: []string{"bmc"}, code: 2, want: "scan or check"},
		{name: "bmc what", args: []string{"bmc", "reboot"}, code: 2, want: "unknown command"},
		{name: "scan nothing", args: []string{"bmc", "scan"}, code: 2, want: "10.0.0.0/24"},
		{name: "scan no range", args: []string{"bmc", "scan", "rack"}, code: 2, want: "is no range"},
		{name: "scan too much", args: []string{"bmc", "scan", "10.0.0.0/8"}, code: 2, want: "65536"},
		{name: "scan strangers", args: []string{"bmc", "scan", "8.8.8.0/24"}, code: 2, want: "--public"},
		{name: "scan no port", args: []string{"bmc", "scan", "10.0.0.0/24", "--port", "70000"}, code: 2, want: "port 70000"},
		{name: "scan at no rate", args: []string{"bmc", "scan", "10.0.0.0/24", "--rate", "0"}, code: 2, want: "--rate"},
		{name: "check nothing", args: []string{"bmc", "check"}, code: 2, want: "redfish://"},
		{name: "check no address", env: both, args: []string{"bmc", "check", "redfsh://h"}, code: 2, want: "did you mean redfish"},
		{name: "password in the address", env: both, args: []string{"bmc", "check", "redfish://a:hunter2@h"}, code: 2, want: "does not belong into the address"},
		{name: "no user", args: []string{"bmc", "check", "redfish://127.0.0.1:1"}, code: 2, want: "INGOT_BMC_USERNAME"},
		{name: "no password", env: user, args: []string{"bmc", "check", "redfish://127.0.0.1:1"}, code: 2, want: "--password-file"},
		{name: "password as an argument", env: user, args: []string{"bmc", "check", "redfish://127.0.0.1:1", "--password", "x"}, code: 2, want: "unknown flag"},
		{name: "empty password", env: user, args: []string{"bmc", "check", "redfish://127.0.0.1:1", "--password-file", short}, code: 1, want: "holds no password"},
		{name: "write without a word", env: both, args: []string{"bmc", "check", "redfish://127.0.0.1:1", "--write"}, code: 2, want: "--yes"},
		{name: "format", env: both, args: []string{"bmc", "check", "redfish://127.0.0.1:1", "-o", "yaml"}, code: 2, want: "table, json, markdown"},
		{name: "both trusts", env: both, args: []string{"bmc", "check", "redfish://127.0.0.1:1", "--ca", short, "--insecure"}, code: 2, want: "exclude"},
		{name: "nobody there", env: both, args: []string{"bmc", "check", "redfish://127.0.0.1:1"}, code: 1, want: "bmc-refused: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := ingot(t, tt.env, tt.args...)
			if code != tt.code || !strings.Contains(errOut, tt.want) || out != "" || strings.Contains(errOut, "hunter2") {
				t.Errorf("code %d, want %d; stderr %q, want %q in it; stdout %q", code, tt.code, errOut, tt.want, out)
			}
		})
	}
}

func TestBMCCheck(t *testing.T) {
	address, body := labBMC(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(labPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(address, "redfish+http://")
	for _, tt := range []struct {
		name    string
		args    []string
		want    []string
		without []string
	}{
		{name: "table", want: []string{"Sushy Emulator", labUUID, "52:54:00:00:00:01", "power: power state", "Off"}},
		{name: "markdown", args: []string{"-o", "markdown"}, want: []string{"### ingot bmc check", "| CAPABILITY | ANSWER |", "|---|---|", "| power | yes |"}},
		{name: "redacted", args: []string{"-o", "markdown", "--redact"}, want: []string{"Sushy Emulator", "(redacted)"}, without: []string{labUUID, "52:54:00:00:00:01", host}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, out, errOut := ingot(t, nil, append([]string{"bmc", "check", address, "--username", "admin", "--password-file", file}, tt.args...)...)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s%s", want, out, errOut)
				}
			}
			for _, not := range append(tt.without, labPassword) {
				if strings.Contains(out+errOut, not) {
					t.Errorf("%q in\n%s%s", not, out, errOut)
				}
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		_, out, errOut := ingot(t, map[string]string{"INGOT_BMC_USERNAME": "admin", "INGOT_BMC_PASSWORD": labPassword}, "bmc", "check", address, "-o", "json")
		var r bmcReport
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v\n%s%s", err, out, errOut)
		}
		if r.Protocol != "redfish" || r.UUID != labUUID || len(r.Checks) < 4 || len(r.Capabilities) != 17 {
			t.Errorf("%+v", r)
		}
	})
	if on, _ := body.Power(t.Context()); on {
		t.Error("the machine was switched on unasked")
	}
	t.Run("wrong password", func(t *testing.T) {
		code, out, errOut := ingot(t, map[string]string{"INGOT_BMC_USERNAME": "admin", "INGOT_BMC_PASSWORD": "hunter2"}, "bmc", "check", address)
		if code != 1 || strings.Contains(out+errOut, "hunter2") {
			t.Errorf("code %d\n%s%s", code, out, errOut)
		}
	})
	t.Run("asked and refused", func(t *testing.T) {
		var out, errOut bytes.Buffer
		env := map[string]string{"INGOT_BMC_USERNAME": "admin", "INGOT_BMC_PASSWORD": labPassword}
		code := Run(context.Background(), []string{"bmc", "check", address, "--write"}, func(k string) string { return env[k] },
			Stdio{In: strings.NewReader("y\n"), Out: &out, Err: &errOut, Terminal: true})
		if code != 0 || out.Len() > 0 || !strings.Contains(errOut.String(), "Nothing was changed") {
			t.Errorf("code %d %s%s", code, &out, &errOut)
		}
	})
	t.Run("written", func(t *testing.T) {
		_, out, _ := ingot(t, map[string]string{"INGOT_BMC_USERNAME": "admin", "INGOT_BMC_PASSWORD": labPassword}, "bmc", "check", address, "--write", "--yes")
		if !strings.Contains(out, "power: reset when off") {
			t.Errorf("nothing was switched:\n%s", out)
		}
	})
}

// What a scan prints, ingot enroll takes.
func TestBMCScan(t *testing.T) {
	// A range of its own: other tests listen on 127.0.0.1, on any port.
	ln, err := net.Listen("tcp4", "127.53.7.3:0")
	if err != nil {
		t.Skipf("loopback has one address here: %v", err)
	}
	s, err := sushytools.New(sushytools.Options{}, simbmc.NewMemory(simbmc.Info{UUID: labUUID, Name: "m1"}, simbmc.ModeUEFI, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(s)
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	args := []string{"bmc", "scan", "127.53.7.0/29", "--port", port, "--ipmi-port", "-1", "--rate", "1000"}
	code, out, errOut := ingot(t, nil, args...)
	want := "name,address,username,password,secret,mac,rack,unit,zone,class,model\nbmc-127-53-7-3,redfish+http://127.53.7.3:" + port + ",,,,,,,,,\n"
	if diff := cmp.Diff(want, out); diff != "" || code != 0 || !strings.Contains(errOut, "Lines without credentials: 1.") {
		t.Errorf("code %d %s (-want +got):\n%s", code, errOut, diff)
	}
	code, out, errOut = ingot(t, nil, append(args, "--secret", "bmc")...)
	set, err := enroll.Parse("rack.csv", strings.NewReader(out), enroll.Options{Namespace: "default", Address: bmcAddress})
	if err != nil || len(set.Problems) > 0 || set.Hosts() != 1 || code != 0 || errOut != "" {
		t.Errorf("code %d %s: %v %v", code, errOut, err, set.Problems)
	}
	if code, out, errOut = ingot(t, nil, "bmc", "scan", "127.53.7.5", "--port", port, "--ipmi-port", "-1", "--timeout", "200ms"); code != 0 || out != "" || !strings.Contains(errOut, "No BMC answered") {
		t.Errorf("code %d %q %q", code, out, errOut)
	}
}

func TestBMCRows(t *testing.T) {
	account := scan.Account{Username: "root", Password: "calvin"}
	addr := func(s string) scan.Found { return scan.Found{Addr: netip.MustParseAddr(s), IPMI: 623} }
	dell := addr("10.0.0.3")
	dell.Service = &scan.Service{Port: 443, TLS: true, Vendor: "Dell", Product: "Integrated Dell Remote Access Controller (iDRAC) with a name that goes on"}
	opened := dell
	opened.Login = &scan.Login{Outcome: scan.Accepted, Account: account, Systems: []scan.System{{URI: "/redfish/v1/Systems/1", Manufacturer: "Dell Inc.", Model: "PowerEdge R750"}}}
	twins := addr("fd00::3")
	twins.Service = &scan.Service{Port: 8443, TLS: true}
	twins.Login = &scan.Login{Outcome: scan.Accepted, Account: account, Systems: []scan.System{{URI: "/redfish/v1/Systems/a"}, {URI: "/redfish/v1/Systems/b"}}}
	vbmc := addr("10.0.0.9")
	vbmc.IPMI = 6230
	plain := addr("10.0.0.4")
	plain.Service = &scan.Service{Port: 80}
	plain.Login = &scan.Login{Outcome: scan.Refused, Account: account}
	var got []string
	for _, f := range []scan.Found{addr("10.0.0.2"), dell, opened, twins, plain, vbmc} {
		for _, r := range rows(f, "bmc") {
			got = append(got, strings.Join([]string{r["name"], r["address"], r["username"], r["password"], r["secret"], r["model"]}, ","))
			if _, err := bmc.ParseAddress(r["address"]); err != nil {
				t.Error(err)
			}
		}
	}
	want := []string{
		"bmc-10-0-0-2,ipmi://10.0.0.2,,,bmc,",
		"bmc-10-0-0-3,redfish://10.0.0.3,,,bmc,Dell-Integrated-Dell-Remote-Access-Controller--iDRAC--with-a-na",
		"bmc-10-0-0-3,redfish://10.0.0.3/redfish/v1/Systems/1,root,calvin,,Dell-Inc.-PowerEdge-R750",
		"bmc-fd00-0000-0000-0000-0000-0000-0000-0003-1,redfish://[fd00::3]:8443/redfish/v1/Systems/a,root,calvin,,",
		"bmc-fd00-0000-0000-0000-0000-0000-0000-0003-2,redfish://[fd00::3]:8443/redfish/v1/Systems/b,root,calvin,,",
		"bmc-10-0-0-4,redfish+http://10.0.0.4,,,bmc,",
		"bmc-10-0-0-9,ipmi://10.0.0.9:6230,,,bmc,",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// The list of factory accounts is the one that the how-to shows.
func TestFactoryAccountsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "howto", "find-bmcs.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range scan.Accounts() {
		if line := "| " + a.Maker + " | " + a.Username + " / " + a.Password + " | " + a.Note; !strings.Contains(string(page), strings.TrimRight(line, " ")) {
			t.Errorf("docs/howto/find-bmcs.md has no line %q", line)
		}
	}
}
