package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func tree(t *testing.T, files map[string]os.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestArchive(t *testing.T) {
	dir := tree(t, map[string]os.FileMode{"usr/lib/ingot/deploy.d/install_coreos": 0o755, "bin/busybox": 0o755})
	if err := os.Symlink("busybox", filepath.Join(dir, "bin/sh")); err != nil {
		t.Fatal(err)
	}
	b, err := archive(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := archive(dir)
	if err != nil || string(again) != string(b) {
		t.Errorf("the same tree gives other bytes, %v", err)
	}
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("no cpio to read it with")
	}
	c := exec.Command("cpio", "-tv", "--quiet")
	c.Stdin = strings.NewReader(string(b))
	out, err := c.CombinedOutput()
	for _, want := range []string{"-rwxr-xr-x", "usr/lib/ingot/deploy.d/install_coreos", "bin/sh -> busybox"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not there, %v:\n%s", want, err, out)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	for name, files := range map[string]map[string]os.FileMode{
		"replace":  {"init": 0o755},
		"letters":  {"usr/lib/ingot/deploy.d/a b": 0o755},
		"executed": {"usr/lib/ingot/deploy.d/lib/x": 0o755},
		"chmod +x": {"usr/lib/ingot/deploy.d/install": 0o644},
	} {
		if _, err := archive(tree(t, files)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error that says %q: %v", name, err)
		}
	}
}
