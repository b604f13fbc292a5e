//go:build e2e

package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
	coordv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/shard"
)

const (
	shards = 8
	nodes  = 6
	// soon bounds what waits for no lease, on a machine that is busy otherwise.
	soon = time.Minute
)

// TestDoors has a client ask two managers' REST doors for what needs a machine's BMC,
// which one of them speaks to. Either door answers as the owner's does, and the BMC is
// told once; while nobody can answer, since the owner was killed, the reason is said.
func TestDoors(t *testing.T) {
	binary, err := rig.Binary(t.TempDir())
	must(t, err)
	dir, c := newAPI(t)
	journal := simbmc.NewJournal(nil, nil)
	f, err := fleet.New(fleet.Config{
		Count: nodes, Seed: 1, BootURL: "http://127.0.0.1:1", Journal: journal,
		Protocols: []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI, fleet.RedfishTLS},
	})
	must(t, err)
	t.Cleanup(f.Close)
	l := &doorLab{t: t, c: c, journal: journal}
	for _, name := range []string{"a", "b"} {
		m := newManager(t, binary, dir, filepath.Join(dir, "api", "kubeconfig"), name, "--shards", fmt.Sprint(shards),
			"--rest-auth", "http_basic", "--rest-htpasswd-file", users(t, dir, name, "admin", "only-"+name),
			// Long enough to see what is said meanwhile: the defaults.
			"--lease-duration-seconds", "15", "--renew-deadline-seconds", "10")
		// It is not what is listened at, so that a mix-up of the two is seen.
		m.args = append(m.args, "--advertise-address", strings.TrimPrefix(door(m), "https://"))
		must(t, m.start())
		must(t, m.up(soon)) // which keeps its ports from the next
		l.managers = append(l.managers, m)
	}
	must(t, (&driver{c: c, managers: l.managers}).balanced(t.Context(), soon))
	a, b := l.managers[0], l.managers[1]
	l.enrol(f, a)

	t.Run("either door", l.either)
	t.Run("strangers", l.strangers)
	t.Run("inspection", l.inspected)
	if t.Failed() {
		return
	}
	t.Run("killed", func(t *testing.T) { l.killed(t, a, b) })
	must(t, journal.Err())
}

// doorLab is what the client and its machines are.
type doorLab struct {
	t        *testing.T
	c        client.Client
	journal  *simbmc.Journal
	managers []*manager
	nodes    []doorNode
}

// doorNode is a node with its machine.
type doorNode struct {
	name string
	m    *fleet.Machine
	told []string // what its BMC is to have been told
}

func (n *doorNode) path(tail string) string { return "/v1/nodes/" + n.name + tail }

// door is where the other replica finds a manager.
func door(m *manager) string { return fmt.Sprintf("https://localhost:%d", m.https) }

// users writes a file of users, whose passwords are their names.
func users(t *testing.T, dir, of string, names ...string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte(name), bcrypt.MinCost)
		must(t, err)
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	path := filepath.Join(dir, of+".htpasswd")
	must(t, os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

// enrol makes a node of each machine at one door, each in a shard of its own: of two
// managers with half of the shards, each has some.
func (l *doorLab) enrol(f *fleet.Fleet, at *manager) {
	l.t.Helper()
	taken := map[int]bool{}
	for i := 0; len(l.nodes) < nodes; i++ {
		name := fmt.Sprintf("node-%d", i)
		if of := shard.Of(namespace+"/"+name, shards); !taken[of] {
			taken[of] = true
			l.nodes = append(l.nodes, doorNode{name: name, m: f.Machines()[len(l.nodes)]})
		}
	}
	for _, n := range l.nodes {
		address, err := bmc.ParseAddress(n.m.Address)
		must(l.t, err)
		body := map[string]any{"name": n.name, "driver": "redfish", "inspect_interface": "redfish", "console_interface": "redfish-graphical", "driver_info": map[string]any{
			"redfish_address": address.BaseURL(), "redfish_system_id": address.System, "redfish_verify_ca": !n.m.Insecure,
			"redfish_username": n.m.Username, "redfish_password": n.m.Password,
		}}
		if n.m.Protocol == fleet.IPMI {
			body = map[string]any{"name": n.name, "driver": "ipmi", "console_interface": "ipmitool-socat", "driver_info": map[string]any{
				"ipmi_address": address.Host, "ipmi_port": address.Port, "ipmi_username": n.m.Username, "ipmi_password": n.m.Password,
			}}
		}
		l.want(l.t, at, http.StatusCreated, http.MethodPost, "/v1/nodes", body)
		for _, m := range l.managers {
			l.rests(l.t, m, n, "enroll")
		}
	}
}

// answer is what a door said.
type answer struct {
	status int
	header http.Header
	text   string
}

// ask asks a door once, as a user whose password is his name.
func (l *doorLab) ask(at *manager, user, method, path string, body any) (answer, error) {
	text := ""
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		text = string(raw)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at.rest+path, strings.NewReader(text))
	if err != nil {
		return answer{}, err
	}
	req.Close = true
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.95")
	if name, password, ok := strings.Cut(user, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw)}, err
}

const admin = "admin:admin"

// want asks until there is an answer other than that it is not the time, as Ironic's
// clients do: by that nothing has been done.
func (l *doorLab) want(t *testing.T, at *manager, status int, method, path string, body any) answer {
	t.Helper()
	var got answer
	var err error
	l.until(t, soon, func() error {
		got, err = l.ask(at, admin, method, path, body)
		switch {
		case err == nil && (got.status == http.StatusServiceUnavailable || got.status == http.StatusConflict), errors.Is(err, syscall.ECONNREFUSED):
			return errors.Join(fmt.Errorf("%s %s at %s: %d %s", method, path, at.name, got.status, got.text), err)
		}
		return nil
	})
	if err != nil || got.status != status {
		t.Fatalf("%s %s at %s: %d %s, %v, want %d", method, path, at.name, got.status, got.text, err, status)
	}
	return got
}

// until waits until there is nothing wrong.
func (l *doorLab) until(t *testing.T, limit time.Duration, wrong func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := wrong()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("waited %s in vain: %v", limit, err)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// rests waits until a node rests in a state, as a door sees it.
func (l *doorLab) rests(t *testing.T, at *manager, n doorNode, state string) {
	t.Helper()
	l.until(t, 2*soon, func() error {
		got, err := l.ask(at, admin, http.MethodGet, n.path(""), nil)
		var is struct {
			State       string  `json:"provision_state"`
			Target      *string `json:"target_provision_state"`
			Reservation *string
			LastError   *string `json:"last_error"`
		}
		if err == nil && got.status == http.StatusOK {
			err = json.Unmarshal([]byte(got.text), &is)
		}
		if is.LastError != nil {
			t.Fatalf("%s: %s", n.name, *is.LastError)
		}
		if err != nil || is.State != state || is.Target != nil || is.Reservation != nil {
			return errors.Join(fmt.Errorf("%s at %s is not %s: %d %s", n.name, at.name, state, got.status, got.text), err)
		}
		return nil
	})
}

// same asks both doors, and wants of them the same answer, whole.
func (l *doorLab) same(t *testing.T, status int, method, path string, body any) answer {
	t.Helper()
	first := l.want(t, l.managers[0], status, method, path, body)
	second := l.want(t, l.managers[1], status, method, path, body)
	l.alike(t, method+" "+path, first, second)
	return first
}

// alike compares what the first door said and what the second did.
func (l *doorLab) alike(t *testing.T, what string, answers ...answer) {
	t.Helper()
	for i := range answers {
		header := maps.Clone(answers[i].header)
		for _, own := range []string{"Date", "Openstack-Request-Id", "X-Openstack-Request-Id"} {
			if n := len(header.Values(own)); n != 1 {
				t.Errorf("%s: %d times %s", what, n, own)
			}
			delete(header, own)
		}
		delete(header, "Content-Length") // what is passed on is not sent in chunks
		// Links lead to where the client came.
		header.Set("Location", strings.Replace(header.Get("Location"), l.managers[i].rest, "http://door", 1))
		answers[i].header = header
	}
	if diff := cmp.Diff(answers[0], answers[1], cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("%s (-first door +second):\n%s", what, diff)
	}
}

// owners are the managers that have the nodes, by their shards.
func (l *doorLab) owners(t *testing.T) map[string]*manager {
	t.Helper()
	var all coordv1.LeaseList
	must(t, l.c.List(t.Context(), &all, client.InNamespace("kube-system"), client.HasLabels{"ingot.dev/lease"}))
	members, holders := map[string]*manager{}, map[string]string{}
	for _, lease := range all.Items {
		for _, m := range l.managers {
			if name, is := strings.CutPrefix(lease.Name, "ingot-member-"); is && lease.Annotations["ingot.dev/door"] == door(m) {
				members[name] = m
			}
		}
		if lease.Spec.HolderIdentity != nil {
			holders[lease.Name] = *lease.Spec.HolderIdentity
		}
	}
	out := map[string]*manager{}
	for _, n := range l.nodes {
		if m := members[holders[fmt.Sprintf("ingot-shard-%d", shard.Of(namespace+"/"+n.name, shards))]]; m != nil {
			out[n.name] = m
		}
	}
	return out
}

// tell has a door change something, which the node's BMC is to be told once.
func (l *doorLab) tell(t *testing.T, at *manager, n *doorNode, device, told string) answer {
	t.Helper()
	a := l.want(t, at, http.StatusNoContent, http.MethodPut, n.path("/management/boot_device"), map[string]any{"boot_device": device})
	l.heard(t, n, told)
	return a
}

// heard waits until a BMC was told this too, and no more.
func (l *doorLab) heard(t *testing.T, n *doorNode, told ...string) {
	t.Helper()
	n.told = append(n.told, told...)
	l.until(t, soon, func() error {
		var got []string
		for _, e := range l.journal.Entries(n.m.Name, simbmc.KindBoot, simbmc.KindPower, simbmc.KindMedia, simbmc.KindAuth) {
			if e.Kind == simbmc.KindAuth && e.Detail == "token" {
				continue // that is good no more, whoever shows it: nothing is done by it
			}
			got = append(got, e.Kind+" "+e.Detail)
		}
		if diff := cmp.Diff(n.told, got); diff != "" {
			return fmt.Errorf("%s: the BMC was told (-want +got):\n%s", n.name, diff)
		}
		return nil
	})
}

func (l *doorLab) either(t *testing.T) {
	owners := l.owners(t)
	share := map[*manager]int{}
	for _, m := range owners {
		share[m]++
	}
	if len(owners) != nodes || len(share) != 2 {
		t.Fatalf("nodes have these owners: %v", owners)
	}
	for i := range l.nodes {
		n := &l.nodes[i]
		const device = "/management/boot_device"
		first := l.tell(t, l.managers[0], n, "pxe", "boot Pxe Once UEFI")
		if got := l.same(t, http.StatusOK, http.MethodGet, n.path(device), nil); got.text != `{"boot_device":"pxe","persistent":false}` {
			t.Errorf("%s: %s", n.name, got.text)
		}
		second := l.tell(t, l.managers[1], n, "disk", "boot Hdd Once UEFI")
		l.alike(t, n.name, first, second)
		if got := l.same(t, http.StatusOK, http.MethodGet, n.path(device), nil); got.text != `{"boot_device":"disk","persistent":false}` {
			t.Errorf("%s: %s", n.name, got.text)
		}
		l.same(t, http.StatusBadRequest, http.MethodPut, n.path(device), map[string]any{"boot_device": "tape"})
		first = l.want(t, l.managers[0], http.StatusAccepted, http.MethodPut, n.path("/states/boot_mode"), map[string]any{"target": "bios"})
		l.heard(t, n, "boot Hdd Once Legacy")
		second = l.want(t, l.managers[1], http.StatusAccepted, http.MethodPut, n.path("/states/boot_mode"), map[string]any{"target": "uefi"})
		l.heard(t, n, "boot Hdd Once UEFI")
		if l.alike(t, n.name, first, second); first.header.Get("Location") == "" {
			t.Errorf("%s: %v", n.name, first.header)
		}
		// What is answered from records is the same too.
		l.same(t, http.StatusNotFound, http.MethodGet, n.path("/inventory"), nil)
		l.want(t, l.managers[i%2], http.StatusAccepted, http.MethodPut, n.path("/states/console"), map[string]any{"enabled": true})
		for _, m := range l.managers {
			l.until(t, soon, func() error { // until the watch has told the other
				at := fmt.Sprintf(`"url":"%s/console/v1/%s/%s"`, door(owners[n.name]), namespace, n.name)
				if got := l.want(t, m, http.StatusOK, http.MethodGet, n.path("/states/console"), nil); !strings.Contains(got.text, at) {
					return fmt.Errorf("%s at %s: %s, want %s", n.name, m.name, got.text, at)
				}
				return nil
			})
		}
	}
}

// strangers are refused alike at either door. Who is known at one door alone gets no
// further than its own machines, since the owner asks anew.
func (l *doorLab) strangers(t *testing.T) {
	owners := l.owners(t)
	path := l.nodes[0].path("/management/boot_device")
	for _, user := range []string{"", "admin:wrong"} {
		var got []answer
		for _, m := range l.managers {
			a, err := l.ask(m, user, http.MethodPut, path, map[string]any{"boot_device": "pxe"})
			must(t, err)
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%q at %s: %d %v", user, m.name, a.status, a.header)
			}
			got = append(got, a)
		}
		l.alike(t, "as "+user, got...)
	}
	seen := map[*manager]bool{}
	for _, n := range l.nodes {
		owner := owners[n.name]
		if seen[owner] {
			continue // a wrong password costs, after ten of them
		}
		seen[owner] = true
		for _, m := range l.managers {
			user, want := "only-"+m.name, http.StatusUnauthorized
			if m == owner {
				want = http.StatusOK
			}
			got, err := l.ask(m, user+":"+user, http.MethodGet, n.path("/management/boot_device"), nil)
			must(t, err)
			if got.status != want {
				t.Errorf("%s at %s, of %s's node: %d %s", user, m.name, owner.name, got.status, got.text)
			}
		}
	}
}

// inspected has the BMCs tell what the machines are. That lies on the owner's disk.
func (l *doorLab) inspected(t *testing.T) {
	for i, n := range l.nodes {
		if n.m.Protocol == fleet.IPMI {
			continue // by IPMI they would boot
		}
		for _, verb := range []string{"manage", "inspect"} {
			l.want(t, l.managers[i%2], http.StatusAccepted, http.MethodPut, n.path("/states/provision"), map[string]any{"target": verb})
			for _, m := range []*manager{l.managers[i%2], l.managers[(i+1)%2]} {
				l.rests(t, m, n, "manageable")
			}
		}
		if got := l.same(t, http.StatusOK, http.MethodGet, n.path("/inventory"), nil); !slices.Contains(addresses(t, got), n.m.MAC) {
			t.Errorf("%s: no %s in %s", n.name, n.m.MAC, got.text)
		}
	}
}

// addresses are those of an inventory's interfaces.
func addresses(t *testing.T, a answer) []string {
	t.Helper()
	var all struct {
		Inventory struct {
			Interfaces []struct {
				MAC string `json:"mac_address"`
			}
		}
	}
	must(t, json.Unmarshal([]byte(a.text), &all))
	var out []string
	for _, i := range all.Inventory.Interfaces {
		out = append(out, i.MAC)
	}
	return out
}

// killed kills a manager. Until the other has its nodes, that one says why it does not
// answer for them, and answers for its own.
func (l *doorLab) killed(t *testing.T, struck, other *manager) {
	owners := l.owners(t)
	struck.kill()
	const device = "/management/boot_device"
	unanswered := 0
	for i := range l.nodes {
		n := &l.nodes[i]
		if owners[n.name] != struck {
			l.tell(t, other, n, "pxe", "boot Pxe Once UEFI")
			continue
		}
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			got, err := l.ask(other, admin, method, n.path(device), map[string]any{"boot_device": "pxe"})
			must(t, err)
			if l.owners(t)[n.name] != struck {
				// A machine so busy that the lease ran out; it does not count.
				if method == http.MethodPut && got.status == http.StatusNoContent {
					n.told = append(n.told, "boot Pxe Once UEFI")
				}
				continue
			}
			if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(got.text, "that of the door "+door(struck)) {
				t.Errorf("%s %s while its owner is dead: %d %v %s", method, n.name, got.status, got.header, got.text)
			}
			unanswered++
		}
	}
	if unanswered == 0 {
		t.Error("nobody was asked while the owner was dead")
	}
	began := time.Now()
	for i := range l.nodes {
		n := &l.nodes[i]
		if owners[n.name] != struck {
			continue
		}
		l.until(t, 2*soon, func() error {
			got, err := l.ask(other, admin, http.MethodGet, n.path(device), nil)
			if err == nil && got.status == http.StatusOK {
				return nil
			}
			if err == nil && (got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "") {
				t.Fatalf("%s on its way to its new owner: %d %v %s", n.name, got.status, got.header, got.text)
			}
			return errors.Join(fmt.Errorf("%s: %d %s", n.name, got.status, got.text), err)
		})
		l.tell(t, other, n, "cdrom", "boot Cd Once UEFI")
		if n.m.Protocol == fleet.IPMI {
			continue
		}
		// What the BMC told is gone with the disk of who was killed; the host says it too.
		if got := l.want(t, other, http.StatusOK, http.MethodGet, n.path("/inventory"), nil); !slices.Contains(addresses(t, got), n.m.MAC) {
			t.Errorf("%s: no %s in %s", n.name, n.m.MAC, got.text)
		}
	}
	for i := range l.nodes {
		l.heard(t, &l.nodes[i])
	}
	t.Logf("%d requests found the owner dead; all nodes were the other's %s later", unanswered, time.Since(began).Round(100*time.Millisecond))
}
