package ipxe

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func agentBoot(t *testing.T) Boot {
	t.Helper()
	b := Boot{
		Kernel: "http://10.77.0.1:6180/boot/kernel/vm", Initrd: "http://10.77.0.1:6180/boot/initrd/vm",
		Script: "http://10.77.0.1:6180/boot/ipxe?mac=52:54:00:00:00:01",
	}
	for _, a := range [][2]string{
		{"console", "ttyS0,115200n8"},
		{"ingot.url", "https://10.77.0.1:6183"},
		{"ingot.ca", strings.Repeat("0f", 32)},
		{"ingot.boot", "3b1f9c0e-7a52-4f0b-9a77-6a5d1f1f2b11"},
		{"ip", "[2001:db8::1]"},
	} {
		if err := b.Args.Set(a[0], a[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Args.Flag("quiet"); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestScript(t *testing.T) {
	got, err := agentBoot(t).Render()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "boot.ipxe", got)
	golden(t, "exit.ipxe", Exit())
}

func TestScriptRefusesURLs(t *testing.T) {
	for _, bad := range []string{
		"", "https://10.77.0.1/k", "http://", "http:///k", "/k", "http://u:p@h/k", "http://h/k x", "http://h/${k}", "http://h/k\nboot", "http://h/k;boot", "http://h/k#a", "http://h/%zz",
		"http://[::1/k", "http://a,b/k", "http://h/" + strings.Repeat("k", maxValue),
	} {
		for _, place := range []func(*Boot) *string{
			func(b *Boot) *string { return &b.Kernel }, func(b *Boot) *string { return &b.Initrd }, func(b *Boot) *string { return &b.Script },
		} {
			b := agentBoot(t)
			*place(&b) = bad
			if got, err := b.Render(); err == nil {
				t.Errorf("URL %q was taken:\n%s", bad, got)
			}
		}
	}
}

func TestArgsRefuse(t *testing.T) {
	for _, test := range []struct{ name, key, value string }{
		{"a space", "k", "a b"},
		{"a newline", "k", "a\nboot"},
		{"a zero byte", "k", "a\x00"},
		{"an escape", "k", "\x1b[2J"},
		{"a variable", "k", "${net0/mac}"},
		{"quotes", "k", `"a"`},
		{"a backslash", "k", `a\b`},
		{"a comment", "k", "a#b"},
		{"a pipe", "k", "a||b"},
		{"a semicolon", "k", "a;b"},
		{"a letter with an accent", "k", "é"},
		{"bytes that are no text", "k", "\xff\xfe"},
		{"nothing", "k", ""},
		{"too much", "k", strings.Repeat("a", maxValue+1)},
		{"no key", "", "v"},
		{"a key with a space", "a b", "v"},
		{"a key with an equals sign", "a=b", "v"},
		{"a key that looks like an option", "--name", "v"},
		{"a long key", strings.Repeat("k", maxKey+1), "v"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var a Args
			if err := a.Set(test.key, test.value); err == nil {
				t.Errorf("taken: %q", a.String())
			} else if strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("control characters in the error: %q", err)
			}
			if a.String() != "" {
				t.Errorf("kept %q", a.String())
			}
		})
	}
}

func TestArgsLength(t *testing.T) {
	var a Args
	n := 0
	for ; a.Set("k", strings.Repeat("v", 97)) == nil; n++ {
	}
	if got := len(a.String()); got > maxLine || n != 20 {
		t.Errorf("%d arguments, %d characters", n, got)
	}
	b := agentBoot(t)
	b.Args = a
	if err := b.Args.Set("l", strings.Repeat("v", 30)); err != nil {
		t.Fatal(err)
	}
	if err := b.Args.Flag("z"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Render(); err == nil {
		t.Error("initrd= made the line too long, and that was not seen")
	}
}

func TestFindLoaders(t *testing.T) {
	dir := t.TempDir()
	_, err := FindLoaders(dir)
	if err == nil || !strings.Contains(err.Error(), "apt-get install ipxe") {
		t.Errorf("error without the remedy: %v", err)
	}
	for _, name := range []string{"undionly.kpxe", "snponly.efi", "ipxe.efi"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ls, err := FindLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := ls.Find("amd64", "uefi"); !ok || l.Name != "snponly.efi" || ls.Files()[l.Name] != filepath.Join(dir, "snponly.efi") {
		t.Errorf("got %+v, %v", l, ok)
	}
	if _, ok := ls.Find("arm64", "uefi"); ok {
		t.Error("a loader for arm64")
	}
	if err := os.WriteFile(filepath.Join(dir, "ipxe.efi"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := FindLoaders(dir); err == nil {
		t.Error("an empty loader was taken")
	}
}

func FuzzArgs(f *testing.F) {
	for _, s := range []string{"ttyS0,115200n8", "a b", "${x}", "\n", "\xff", "||"} {
		f.Add("console", s)
		f.Add(s, "v")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		b := Boot{Kernel: "http://h/k", Initrd: "http://h/i", Script: "http://h/s"}
		plain, err := b.Render()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Args.Set(key, value); err != nil {
			return
		}
		got, err := b.Render()
		if err != nil {
			return
		}
		// The script has grown by exactly one word on the kernel's line.
		if bytes.Count(got, []byte("\n")) != bytes.Count(plain, []byte("\n")) || len(bytes.Fields(got)) != len(bytes.Fields(plain))+1 || bytes.ContainsAny(got, "$;#\\\"'") != bytes.ContainsAny(plain, "$;#\\\"'") {
			t.Fatalf("key %q, value %q:\n%s", key, value, got)
		}
	})
}
