package redfish

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const waysHead = "| tree | firmware named | components | update by | storage controllers | drives | RAID levels |\n|---|---|---|---|---|---|---|\n"

// TestTreesTable makes the second table of docs/reference/bmc-trees.md, and sees
// that the page has both as they are.
func TestTreesTable(t *testing.T) {
	var table strings.Builder
	for _, f := range facts {
		s := dialTree(t, expandingTree{tree: openTree(t, f.set)})
		ctx := context.Background()
		all, err := s.FirmwareInventory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var named []string
		nics := 0
		for _, c := range all {
			switch {
			case strings.HasPrefix(c.Component, componentNIC):
				nics++
			case c.Component != "":
				named = append(named, c.Component)
			}
		}
		if nics > 0 {
			named = append(named, fmt.Sprintf("%d nic", nics))
		}
		controllers, err := s.Storage(ctx)
		if err != nil && bmc.ClassOf(err) != bmc.Unsupported {
			t.Fatal(err)
		}
		drives := 0
		levels := []string{}
		for _, c := range controllers {
			drives += len(c.Drives)
			levels = append(levels, c.RAIDTypes...)
		}
		fmt.Fprintf(&table, "| %s | %s | %d | %s | %d | %d | %s |\n", f.set, strings.Join(named, ", "), len(all), ways(t, s), len(controllers), drives,
			firstOf(strings.Join(levels, ", "), "none"))
	}
	checkGolden(t, filepath.Join("testdata", "ways.txt"), waysHead+table.String())
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "reference", "bmc-trees.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"trees.txt", "ways.txt"} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), string(want)) {
			t.Errorf("docs/reference/bmc-trees.md does not have testdata/%s as it is: copy it there", file)
		}
	}
}

// ways says how a tree's update service takes firmware.
func ways(t *testing.T, s *System) string {
	t.Helper()
	var svc updateService
	a, err := s.e.do(context.Background(), call{op: "test", method: http.MethodGet, uri: updateURI})
	if err != nil || decode("test", a.body, &svc) != nil {
		t.Fatal(err)
	}
	var out []string
	if svc.Actions.Simple.Target != "" {
		var protocols []string
		for _, p := range svc.Actions.Simple.Protocols {
			protocols = append(protocols, clean(p))
		}
		out = append(out, strings.TrimSpace("SimpleUpdate "+strings.Join(protocols, " ")))
	}
	if svc.Multipart != "" {
		out = append(out, "multipart `"+clean(svc.Multipart)+"`")
	}
	if svc.Push != "" {
		out = append(out, "push `"+clean(svc.Push)+"`")
	}
	return strings.Join(out, "; ")
}
