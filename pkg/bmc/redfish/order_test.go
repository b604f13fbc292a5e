package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	optionsPath = sysPath + "/BootOptions"
	stagedPath  = sysPath + "/Settings"
)

// newOrder is a board with three boot options, of which the ids are not the
// references, as HPE has it.
func newOrder(t *testing.T, staged bool) *board {
	b := newBoard(t, func(b *board, w boardWrite) boardReply {
		doc := b.docs[w.Path]
		if doc == nil || w.json["Boot"] == nil {
			return boardReply{code: http.StatusNotFound}
		}
		doc["Boot"].(map[string]any)["BootOrder"] = w.json["Boot"].(map[string]any)["BootOrder"]
		return boardReply{}
	})
	members := []any{}
	for i, o := range []string{"Boot000D", "Boot0012", "Boot0014"} {
		p := fmt.Sprintf("%s/%d", optionsPath, i+1)
		members = append(members, map[string]any{"@odata.id": p})
		b.put(p, fmt.Sprintf(`{"@odata.id": %q, "Name": "Boot Option", "BootOptionReference": %q, "DisplayName": "Entry %d", "UefiDevicePath": "Pci(%d)", "Description": "of the test"}`, p, o, i+1, i+1))
	}
	b.docs[optionsPath] = map[string]any{"Members": members}
	b.change(func(s map[string]any) {
		boot := s["Boot"].(map[string]any)
		boot["BootOptions"] = map[string]any{"@odata.id": optionsPath}
		boot["BootOrder"] = []any{"Boot0012", "Boot000D"}
		if staged {
			s["@Redfish.Settings"] = map[string]any{"SettingsObject": map[string]any{"@odata.id": stagedPath}, "SupportedApplyTimes": []any{"OnReset"}}
		}
	})
	if staged {
		b.put(stagedPath, `{"@odata.etag": "\"s\"", "Boot": {"BootOrder": ["Boot0012", "Boot000D"]}}`)
	}
	return b
}

func TestBootOrder(t *testing.T) {
	ctx := context.Background()
	want := []bmc.BootOption{
		{Reference: "Boot0012", Name: "Entry 2", UEFIPath: "Pci(2)", Description: "of the test"},
		{Reference: "Boot000D", Name: "Entry 1", UEFIPath: "Pci(1)", Description: "of the test"},
	}
	b := newOrder(t, false)
	s := dialBoard(t, b)
	b.forget()
	got, err := s.BootOrder(ctx)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("order (-want +got), %v:\n%s", err, d)
	}
	if n := len(b.requests()); n != 5 {
		t.Errorf("%d requests, want 5: %q", n, b.requests())
	}

	// A BMC that expands answers in one.
	b = newOrder(t, false)
	b.docs["/redfish/v1"]["ProtocolFeaturesSupported"] = map[string]any{"ExpandQuery": map[string]any{"NoLinks": true}}
	old := b.fault
	b.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != optionsPath || r.URL.RawQuery == "" {
			return old(w, r)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		all := []any{}
		for i := range 3 {
			all = append(all, b.docs[fmt.Sprintf("%s/%d", optionsPath, i+1)])
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Members": all})
		return true
	}
	s = dialBoard(t, b)
	b.forget()
	got, err = s.BootOrder(ctx)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("expanded (-want +got), %v:\n%s", err, d)
	}
	if n := len(b.requests()); n != 2 {
		t.Errorf("%d requests, want 2: %q", n, b.requests())
	}

	// The order alone.
	b = newOrder(t, false)
	delete(b.docs, optionsPath)
	got, err = dialBoard(t, b).BootOrder(ctx)
	if d := cmp.Diff([]bmc.BootOption{{Reference: "Boot0012"}, {Reference: "Boot000D"}}, got); d != "" || err != nil {
		t.Errorf("no options (-want +got), %v:\n%s", err, d)
	}
	_, err = dialBoard(t, newFake(t)).BootOrder(ctx)
	wantError(t, err, bmc.Unsupported, "", "no boot order")
}

func TestSetBootOrder(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name   string
		staged bool
		set    []string
		body   string
		path   string
		done   bool
		fails  string
	}{
		{name: "whole", set: []string{"Boot000D", "Boot0012"}, path: sysPath, body: `{"Boot":{"BootOrder":["Boot000D","Boot0012"]}}`, done: true},
		{name: "the others follow", set: []string{"Boot000D"}, path: sysPath, body: `{"Boot":{"BootOrder":["Boot000D","Boot0012"]}}`, done: true},
		{name: "one that is not in the order", set: []string{"Boot0014"}, path: sysPath, body: `{"Boot":{"BootOrder":["Boot0014","Boot0012","Boot000D"]}}`, done: true},
		{name: "as it is", set: []string{"Boot0012"}, done: true},
		{name: "staged (Lenovo, NVIDIA)", staged: true, set: []string{"Boot000D"}, path: stagedPath, body: `{"Boot":{"BootOrder":["Boot000D","Boot0012"]}}`},
		{name: "unknown", set: []string{"Boot9999"}, fails: "no boot option Boot9999: it has Boot0012, Boot000D, Boot0014"},
		{name: "twice", set: []string{"Boot000D", "Boot000D"}, fails: "named twice"},
		{name: "none", fails: "name at least one of Boot0012, Boot000D, Boot0014"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newOrder(t, tc.staged)
			s := dialBoard(t, b)
			o, err := s.SetBootOrder(ctx, tc.set)
			if tc.fails != "" {
				wantError(t, err, bmc.BadRequest, "", tc.fails)
				return
			}
			if err != nil || o.Done != tc.done || o.NeedsReset == tc.done || o.Kind != "boot-order" || o.Resource != sysPath {
				t.Fatalf("%+v, %v", o, err)
			}
			body, path := "", ""
			for _, w := range b.sent {
				body, path = body+w.Body, w.Path
			}
			if body != tc.body || path != tc.path {
				t.Errorf("sent %s to %s, want %s to %s", body, path, tc.body, tc.path)
			}
			p, err := s.Poll(ctx, o)
			if err != nil || p.Done != tc.done || !tc.done && p.Message != waitsForReset {
				t.Errorf("%+v, %v", p, err)
			}
			if tc.done {
				return
			}
			if again, err := s.SetBootOrder(ctx, tc.set); err != nil || len(b.sent) != 1 || !again.NeedsReset {
				t.Errorf("what waits is written again: %+v, %v, %+v", again, err, b.sent)
			}
			b.change(func(s map[string]any) { // the next start
				s["Boot"].(map[string]any)["BootOrder"] = b.docs[stagedPath]["Boot"].(map[string]any)["BootOrder"]
			})
			if p, err := s.Poll(ctx, o); err != nil || !p.Done {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}

	b := newOrder(t, false)
	b.handle = func(*board, boardWrite) boardReply { return boardReply{} }
	_, err := dialBoard(t, b).SetBootOrder(ctx, []string{"Boot000D"})
	wantError(t, err, bmc.Protocol, "", "shows another one")

	b = newOrder(t, false) // iDRAC9: a job for the next start
	b.handle = func(b *board, w boardWrite) boardReply {
		return boardReply{code: 202, location: "/redfish/v1/TaskService/Tasks/JID_2"}
	}
	o, err := dialBoard(t, b).SetBootOrder(ctx, []string{"Boot000D"})
	if err != nil || o.Task == "" || !o.NeedsReset || o.Done {
		t.Errorf("%+v, %v", o, err)
	}

	b = newOrder(t, true) // staged changes want an apply time there, too
	if _, err := dialBoard(t, b, quirk.BIOSApplyTime).SetBootOrder(ctx, []string{"Boot000D"}); err != nil || !strings.HasPrefix(b.sent[0].Body, `{"@Redfish.SettingsApplyTime":{"ApplyTime":"OnReset"},"Boot"`) {
		t.Errorf("%v, %+v", err, b.sent)
	}
}
