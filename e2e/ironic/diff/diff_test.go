package diff

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/e2e/rig"
)

var (
	update    = flag.Bool("update", false, "record what the -reference answers")
	reference = flag.String("reference", "", "`URL` of a running Ironic that has no nodes")
)

// TestReference compares ingot serve, the whole of it, with what a real Ironic
// answered.
func TestReference(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	url := os.Getenv("INGOT_REST")
	if url == "" && !*update {
		url = serve(t).REST
	}
	meantFor := map[string]int{}
	steps, differ, known := 0, 0, 0
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			script := read(t, path)
			golden := filepath.Join("testdata", "reference", name+".json")
			if *update {
				write(t, golden, ask(t, *reference, script))
				return
			}
			want, got := load(t, golden), ask(t, url, script)
			if len(want) != len(got) {
				t.Fatalf("%d answers are recorded, the script has %d steps: record them anew (doc.go)", len(want), len(got))
			}
			for i := range want {
				steps++
				found := compare(want[i], got[i])
				if len(found) > 0 {
					differ++
				}
				for _, d := range found {
					if reason, ok := explained(d); ok {
						known++
						meantFor[reason]++
						continue
					}
					t.Error(d)
				}
			}
		})
	}
	t.Logf("%d requests, %d are answered otherwise; %d differences are meant:", steps, differ, known)
	for reason, n := range meantFor {
		t.Logf("%6d  %s", n, reason)
	}
}

// serve starts a server of its own.
func serve(t *testing.T) *rig.Server {
	t.Helper()
	dir := t.TempDir()
	binary, err := rig.Binary(dir)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := rig.Pretended(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := rig.NewPorts()
	if err != nil {
		t.Fatal(err)
	}
	s, err := rig.NewServer(binary, dir, p, "--boot-files", boot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, path string) []step {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	steps, err := parse(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return steps
}

func ask(t *testing.T, url string, script []step) []answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	out, err := newDoor(url).run(ctx, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func load(t *testing.T, path string) []answer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []answer
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// write keeps answers, one a line.
func write(t *testing.T, path string, answers []answer) {
	t.Helper()
	var b bytes.Buffer
	for i, a := range answers {
		line, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(map[bool]string{true: "[", false: ",\n"}[i == 0])
		b.Write(line)
	}
	b.WriteString("]\n")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
