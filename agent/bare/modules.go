package bare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Module is an entry of modules.json, which images/build makes from the modules'
// own .modinfo.
type Module struct {
	Name    string   `json:"name"`
	File    string   `json:"file"`
	Depends []string `json:"depends,omitempty"`
	Always  bool     `json:"always,omitempty"`
	Aliases []string `json:"aliases,omitempty"` // of devices; patterns
}

// LoadModules loads what is always wanted and what a device of this machine
// asks for. Drivers bring new devices into sight (a virtio disk behind its PCI
// function), hence the rounds.
func LoadModules(dir, sys string, log *slog.Logger) (int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "modules.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // all built in
	}
	if err != nil {
		return 0, err
	}
	var all []Module
	if err := json.Unmarshal(b, &all); err != nil {
		return 0, fmt.Errorf("modules.json: %w", err)
	}
	l := &loader{dir: dir, log: log, known: map[string]Module{}, tried: map[string]bool{}}
	for _, m := range all {
		l.known[m.Name] = m
	}
	for _, m := range all {
		if m.Always {
			l.load(m.Name)
		}
	}
	seen := map[string]bool{}
	for {
		fresh := freshAliases(sys, seen)
		if len(fresh) == 0 {
			mountEFI(log)
			return l.loaded, nil
		}
		for _, m := range all {
			if wants(m.Aliases, fresh) {
				l.load(m.Name)
			}
		}
	}
}

// freshAliases are the names by which devices ask for drivers, without those
// seen before.
func freshAliases(sys string, seen map[string]bool) (fresh []string) {
	files, err := filepath.Glob(filepath.Join(sys, "bus/*/devices/*/modalias"))
	if err != nil {
		return nil
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		a := strings.TrimSpace(string(b))
		if err != nil || a == "" || seen[a] {
			continue
		}
		seen[a] = true
		fresh = append(fresh, a)
	}
	return fresh
}

func wants(patterns, aliases []string) bool {
	for _, p := range patterns {
		// Most patterns differ in the first bytes; matching costs more.
		fixed, _, _ := strings.Cut(p, "*")
		fixed, _, _ = strings.Cut(fixed, "[")
		for _, a := range aliases {
			if strings.HasPrefix(a, fixed) {
				if ok, err := path.Match(p, a); ok && err == nil {
					return true
				}
			}
		}
	}
	return false
}

type loader struct {
	dir    string
	log    *slog.Logger
	known  map[string]Module
	tried  map[string]bool
	loaded int
}

func (l *loader) load(name string) {
	m, ok := l.known[name]
	if !ok || l.tried[name] {
		return
	}
	l.tried[name] = true
	for _, d := range m.Depends {
		l.load(d)
	}
	f, err := os.Open(filepath.Join(l.dir, m.File))
	if err != nil {
		l.log.Warn("module missing", "module", name, "err", err)
		return
	}
	defer f.Close()
	switch err := unix.FinitModule(int(f.Fd()), "", 0); {
	case err == nil:
		l.loaded++
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENODEV):
		// Built in, or no such device after all.
	default:
		l.log.Warn("module not loaded", "module", name, "err", err)
	}
}
