package userdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
)

func sample() Input {
	return Input{
		UUID:        "0a1b2c3d-0000-4000-8000-000000000001",
		Namespace:   "metal3",
		Name:        "worker-3",
		MetaData:    []byte("providerid: metal3/worker-3/m3m\nlocal-hostname: node-3\nindex: 3\n"),
		NetworkData: []byte("links:\n- {id: e0, type: phy, ethernet_mac_address: 52:54:00:AA:00:01}\nnetworks: []\nservices: []\n"),
		UserData:    []byte("#cloud-config\nhostname: node-3\n"),
	}
}

// wantFiles is what either version directory of the sample holds.
func wantFiles() map[string]string {
	return map[string]string{
		"meta_data.json":    `{"index":3,"local-hostname":"node-3","local_hostname":"worker-3","metal3-name":"worker-3","metal3-namespace":"metal3","name":"worker-3","providerid":"metal3/worker-3/m3m","uuid":"0a1b2c3d-0000-4000-8000-000000000001"}`,
		"network_data.json": `{"links":[{"ethernet_mac_address":"52:54:00:AA:00:01","id":"e0","type":"phy"}],"networks":[],"services":[]}`,
		"user_data":         "#cloud-config\nhostname: node-3\n",
	}
}

func image(t testing.TB, in Input) (path string, b []byte) {
	t.Helper()
	b, err := ConfigDrive(in)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "config.iso")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// read opens an image with diskfs, a reader that is not ours.
func read(t testing.TB, path string) (label string, files map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	img, err := iso9660.Read(diskfile.New(f, true), i.Size(), 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, version := range []string{"latest", "2012-08-10"} {
		entries, err := img.ReadDir("openstack/" + version)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := "openstack/" + version + "/" + e.Name()
			h, err := img.OpenFile("/"+name, os.O_RDONLY)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(h)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(content)
		}
	}
	return strings.TrimSpace(img.Label()), files
}

func TestConfigDrive(t *testing.T) {
	path, b := image(t, sample())
	label, got := read(t, path)
	if label != "config-2" {
		t.Errorf("label %q", label)
	}
	want := map[string]string{}
	for _, version := range []string{"latest", "2012-08-10"} {
		for name, content := range wantFiles() {
			want["openstack/"+version+"/"+name] = content
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	_, again := image(t, sample())
	if !bytes.Equal(b, again) {
		t.Error("the same input gave other bytes")
	}
	if len(b)%2048 != 0 {
		t.Errorf("%d bytes are no whole sectors", len(b))
	}
}

func TestConfigDriveWithoutExtras(t *testing.T) {
	path, _ := image(t, Input{UUID: "u", Namespace: "n", Name: "h"})
	_, got := read(t, path)
	if len(got) != 2 {
		t.Errorf("want meta_data.json alone, got %v", got)
	}
}

func TestUserDataIsVerbatim(t *testing.T) {
	in := sample()
	in.UserData = bytes.Repeat([]byte("\x1f\x8b\x00\xffbinary\r\n"), 100_000)
	path, b := image(t, in)
	_, got := read(t, path)
	if got["openstack/latest/user_data"] != string(in.UserData) {
		t.Error("user data was changed")
	}
	if len(b) > len(in.UserData)+overhead {
		t.Errorf("%d bytes for %d of user data: it is stored twice", len(b), len(in.UserData))
	}
}

// Real tools agree with diskfs, where they are installed.
func TestConfigDriveWithRealTools(t *testing.T) {
	path, _ := image(t, sample())
	t.Run("blkid", func(t *testing.T) {
		out := run(t, "blkid", "-p", "-o", "export", path)
		for _, want := range []string{"LABEL=config-2\n", "TYPE=iso9660\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	})
	t.Run("xorriso", func(t *testing.T) {
		for _, tree := range []string{"-read_fs any", "-read_fs nojoliet", "-read_fs norock"} {
			dir := t.TempDir()
			args := append(strings.Fields(tree), "-report_about", "WARNING", "-return_with", "WARNING", "32", "-osirrox", "on", "-indev", path, "-extract", "/", dir+"/x")
			run(t, "xorriso", args...)
			// Rock Ridge directories are root's alone; let the test clean up.
			_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error { return os.Chmod(p, 0o700) })
			for name, want := range wantFiles() {
				got, err := os.ReadFile(filepath.Join(dir, "x/openstack/latest", name))
				if err != nil || string(got) != want {
					t.Errorf("%s: %s: got %q, %v", tree, name, got, err)
				}
			}
		}
		if out := run(t, "xorriso", "-indev", path, "-toc", "-pvd_info"); !strings.Contains(out, "Volume Id    : config-2") {
			t.Errorf("volume id:\n%s", out)
		}
	})
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		if bin = "/usr/sbin/" + name; exec.Command(bin, "--version").Run() != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out) + "\n"
}

func TestConfigDriveRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Input)
		want   Error
	}{
		{"metadata is no YAML", func(i *Input) { i.MetaData = []byte("a: 1\nb: [\n") }, Error{CodeInvalid, KeyMetaData, 2, "is no YAML: did not find expected node content"}},
		{"metadata is a list", func(i *Input) { i.MetaData = []byte("- a\n") }, Error{CodeInvalid, KeyMetaData, 1, "is no mapping of keys to values"}},
		{"network data is text", func(i *Input) { i.NetworkData = []byte("eth0 dhcp") }, Error{CodeInvalid, KeyNetworkData, 1, "is no mapping of keys to values"}},
		{"links is no list", func(i *Input) { i.NetworkData = []byte("services: []\nlinks:\n  id: e0\n") }, Error{CodeInvalid, KeyNetworkData, 2, "links is no list"}},
		{"cloud-config is no YAML", func(i *Input) { i.UserData = []byte("#cloud-config\nusers:\n\t- a\n") }, Error{CodeInvalid, KeyUserData, 3, "is no YAML: found character that cannot start any token"}},
		{"header with a blank", func(i *Input) { i.UserData = []byte("# cloud-config\na: 1\n") }, Error{CodeInvalid, KeyUserData, 1, "must read #cloud-config exactly, or cloud-init ignores all of it"}},
		{"header with an underscore", func(i *Input) { i.UserData = []byte("#cloud_config\n") }, Error{CodeInvalid, KeyUserData, 1, "must read #cloud-config exactly, or cloud-init ignores all of it"}},
		{"Ignition is no JSON", func(i *Input) { i.UserData = []byte("{\n\"ignition\": {},\n}") }, Error{CodeInvalid, KeyUserData, 3, "is no JSON, though it begins as an Ignition configuration: invalid character '}' looking for beginning of object key string"}},
		{"too big", func(i *Input) { i.UserData = make([]byte, agent.MaxConfDrive) }, Error{CodeInvalid, KeyUserData, 0, "the config drive would have 67109024 bytes, at most 67026944 are allowed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := sample()
			tt.change(&in)
			_, err := ConfigDrive(in)
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestUserDataThatPasses(t *testing.T) {
	for _, s := range []string{
		"", "#!/bin/sh\necho hi\n", "#cloud-config", "#cloud-config\r\na: 1\r\n", "#cloud-config\na: 1\na: 2\n",
		"## template: jinja\n#cloud-config\n{% if x %}\n", "Content-Type: multipart/mixed\n", "version: v1alpha1\n",
		`{"ignition":{"version":"3.3.0"}}`, "{{ odd }}", "\x1f\x8b\x00",
	} {
		if err := CheckUserData([]byte(s)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A parser's error must not carry the user's secrets into a condition.
func TestErrorsQuoteNothing(t *testing.T) {
	for _, s := range []string{"hunter2", "a: *hunter2", "a: !hunter2x y\n b", "a: \"hunter2\nb: 1", "? [hunter2\n: {"} {
		if _, err := mapping(KeyMetaData, []byte(s)); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestFromSecret(t *testing.T) {
	tests := []struct {
		name string
		data map[string][]byte
		key  string
		want string
		err  string
	}{
		{"key", map[string][]byte{"userData": []byte("u"), "value": []byte("v")}, KeyUserData, "u", ""},
		{"fallback", map[string][]byte{"value": []byte("v")}, KeyMetaData, "v", ""},
		{"network data is optional", map[string][]byte{"x": nil}, KeyNetworkData, "", ""},
		{"missing", map[string][]byte{"user-data": nil, "a": nil}, KeyUserData, "", "userData: Secret s1 has neither the key userData nor value; it has a, user-data"},
		{"empty", nil, KeyMetaData, "", "metaData: Secret s1 has neither the key metaData nor value; it has no keys"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromSecret("s1", tt.data, tt.key)
			if string(got) != tt.want || (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestUnknownMACs(t *testing.T) {
	data := []byte(`{"links":[{"ethernet_mac_address":"52:54:00:AA:00:01"},{"ethernet_mac_address":"52:54:00:aa:00:09"},{"type":"bond","ethernet_mac_address":"00:00:00:00:00:01"},"odd",{"id":"x"}]}`)
	if diff := cmp.Diff([]string{"52:54:00:aa:00:09"}, UnknownMACs(data, []string{"52:54:00:aa:00:01"})); diff != "" {
		t.Error(diff)
	}
}

func FuzzConfigDrive(f *testing.F) {
	in := sample()
	f.Add(in.MetaData, in.NetworkData, in.UserData)
	f.Add([]byte("a: &a [1]\nb: *a\n1: x\n"), []byte("links: ~"), []byte("#cloud-config\n? {a: b}\n: 1\n"))
	f.Add([]byte("a: .nan\n"), []byte("{}"), []byte("{"))
	f.Fuzz(func(t *testing.T, meta, network, user []byte) {
		in := Input{UUID: "u", Name: "h", Namespace: "n", MetaData: meta, NetworkData: network, UserData: user}
		b, err := ConfigDrive(in)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		path := filepath.Join(t.TempDir(), "i")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, files := read(t, path)
		if !json.Valid([]byte(files["openstack/latest/meta_data.json"])) || files["openstack/latest/user_data"] != string(user) {
			t.Fatal("does not read back")
		}
	})
}
