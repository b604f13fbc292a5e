package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// source hands out one secret.
type source struct{ secret []byte }

func (source) Chunk(context.Context, string, string, []byte) error {
	return errors.New("no chunks here")
}

func (s source) Secret(context.Context, string, int64) ([]byte, error) { return s.secret, nil }

// rig is a ramdisk with methods, and a disk that is a file.
type rig struct {
	Runner
	t    *testing.T
	ref  api.DiskRef
	disk string
	said []string
}

func newRig(t *testing.T, methods map[string]string) *rig {
	t.Helper()
	root := t.TempDir()
	r := &rig{t: t, disk: filepath.Join(root, "vda"), ref: api.DiskRef{Name: "/dev/vda", Serial: "S1", Size: 4096}}
	if err := os.WriteFile(r.disk, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Runner = Runner{
		Dir: filepath.Join(root, "deploy.d"), Temp: t.TempDir(), Say: func(l string) { r.said = append(r.said, l) },
		Finder: disk.Finder{Dev: root, Lookup: func(name string) (api.Disk, bool) {
			return api.Disk{Name: "/dev/vda", Serial: "S1", Size: 4096}, name == "vda"
		}},
	}
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range methods {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) deploy(ctx context.Context, s api.DeployStep, files api.DeployFiles) error {
	r.t.Helper()
	raw, err := json.Marshal(files)
	if err != nil {
		r.t.Fatal(err)
	}
	if s.Disk == (api.DiskRef{}) {
		s.Disk = r.ref
	}
	s.Files, s.FilesSize = "digest", int64(len(raw))
	_, err = r.Deploy(ctx, s, source{raw}, func(int64, int64, string, string) {})
	left, readErr := os.ReadDir(r.Temp)
	if readErr != nil || len(left) != 0 {
		r.t.Errorf("left behind: %v, %v", left, readErr)
	}
	return err
}

func TestMethods(t *testing.T) {
	r := newRig(t, map[string]string{"install_coreos": "", "b.2": "", ".hidden": "", "a b": ""})
	if err := os.WriteFile(filepath.Join(r.Dir, "no-x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", filepath.Join(r.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.Dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b.2", "install_coreos"}, r.Methods()); d != "" {
		t.Error(d)
	}
	if got := (Runner{Dir: filepath.Join(r.Dir, "nowhere")}).Methods(); got != nil {
		t.Errorf("a ramdisk without methods has %v", got)
	}
	for _, bad := range []string{"", ".", "..", "../vda", "link", "no-x", "dir", "a b", "unknown", "b.2/../b.2"} {
		err := r.deploy(t.Context(), api.DeployStep{Method: bad}, nil)
		if fault.Code(err, "") != fault.StepRefused {
			t.Errorf("method %q: %v", bad, err)
		}
	}
}

// A method gets its disk, its files and a small environment, and nothing else.
func TestDeploy(t *testing.T) {
	r := newRig(t, map[string]string{"install": `#!/bin/sh
set -eu
echo "hello from $INGOT_METHOD"
env | cut -d= -f1 | sort | tr '\n' ' ' >&2; echo >&2
stat -c 'mode %a' "$INGOT_DIR"
stat -c '%n %a' *
cat user_data; echo
printf written > "$INGOT_DISK"
printf ' \033[31mred\n'
`})
	err := r.deploy(t.Context(), api.DeployStep{
		Method: "install", Image: &api.DeployImage{URL: "http://images/tree?a=$(reboot)"}, Seconds: 60,
	}, api.DeployFiles{"user_data": []byte("recipe"), "meta_data.json": []byte("{}"), "../../evil": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(r.said, "\n")
	for _, want := range []string{
		"hello from install", "mode 700", "disk.json 600", "image.json 600", "meta_data.json 600", "user_data 600", "recipe", "[31mred",
		"HOME INGOT_DIR INGOT_DISK INGOT_DISK_SERIAL INGOT_DISK_SIZE INGOT_DISK_WWN INGOT_IMAGE_CHECKSUM INGOT_IMAGE_CHECKSUM_TYPE INGOT_IMAGE_FORMAT INGOT_IMAGE_URL INGOT_METHOD LC_ALL PATH PWD TMPDIR",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("it did not say %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "evil") || strings.Contains(all, "\x1b") {
		t.Errorf("it said:\n%q", all)
	}
	if b, err := os.ReadFile(r.disk); err != nil || !strings.HasPrefix(string(b), "written") {
		t.Errorf("the disk holds %.20q, %v", b, err)
	}
}

// The disk that the step names is checked before the method is started.
func TestDeployChecksTheDisk(t *testing.T) {
	r := newRig(t, map[string]string{"install": "#!/bin/sh\necho ran\n"})
	for _, ref := range []api.DiskRef{
		{Name: "/dev/vda", Serial: "OTHER", Size: 4096},
		{Name: "/dev/vda", Serial: "S1", Size: 8192},
		{Name: "/dev/vdb", Serial: "S1", Size: 4096},
		{Name: "/dev/../vda", Serial: "S1", Size: 4096},
	} {
		err := r.deploy(t.Context(), api.DeployStep{Method: "install", Disk: ref}, nil)
		if fault.Code(err, "") != fault.DiskMismatch {
			t.Errorf("%+v: %v", ref, err)
		}
	}
	if len(r.said) != 0 {
		t.Errorf("the method ran: %v", r.said)
	}
}

func TestDeployFails(t *testing.T) {
	r := newRig(t, map[string]string{
		"fails":  "#!/bin/sh\nfor i in $(seq 100); do echo line $i; done\necho the reason >&2\nexit 3\n",
		"broken": "#!/no/such/interpreter\n",
		"floods": "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\nexit 1\n",
		"sleeps": "#!/bin/sh\necho begins\nsleep 1000 &\nsleep 1000\n",
	})
	for method, want := range map[string][]string{
		"fails":  {"exit status 3", "line 100", "the reason"},
		"broken": {"interpreter"},
		"floods": {"exit status 1", "xxx"},
	} {
		err := r.deploy(t.Context(), api.DeployStep{Method: method}, nil)
		if fault.Code(err, "") != fault.DeployFailed {
			t.Fatalf("%s: %v", method, err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", method, err, w)
			}
		}
		if len(err.Error()) > 4096 || strings.Contains(err.Error(), "line 1\n") {
			t.Errorf("%s: the error has %d bytes", method, len(err.Error()))
		}
	}
	t.Run("in time", func(t *testing.T) {
		r.said = nil
		began := time.Now()
		err := r.deploy(t.Context(), api.DeployStep{Method: "sleeps", Seconds: 1}, nil)
		if fault.Code(err, "") != fault.DeployFailed || !strings.Contains(err.Error(), "not done after") || !slices.Contains(r.said, "begins") {
			t.Errorf("%v; said %v", err, r.said)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("replaced by another step", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r.Say = func(string) { cancel() }
		if err := r.deploy(ctx, api.DeployStep{Method: "sleeps"}, nil); err == nil {
			t.Error("it ended well")
		}
	})
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\nb\x00\xff\n\n\x1b[2J"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n int
		out := &tail{say: func(string) { n++ }}
		for chunk := range slices.Chunk(b, 7) {
			if w, err := out.Write(chunk); w != len(chunk) || err != nil {
				t.Fatalf("wrote %d, %v", w, err)
			}
		}
		out.flush()
		if l := out.last(); len(l) > keepLines*(3*keepBytes+1) || strings.ContainsAny(l, "\x00\x1b\r") {
			t.Errorf("kept %q", l)
		}
	})
}
