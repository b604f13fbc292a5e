package explain_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/explain"
)

func TestCatalogueIsComplete(t *testing.T) {
	seen := map[string]bool{}
	code := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, d := range explain.Catalogue() {
		t.Run(d.Code, func(t *testing.T) {
			if seen[d.Code] {
				t.Error("code is there twice")
			}
			seen[d.Code] = true
			if !code.MatchString(d.Code) {
				t.Error("code is not lower-case words joined by dashes")
			}
			for name, text := range map[string]string{"title": d.Title, "cause": d.Cause, "evidence": d.Evidence} {
				if text == "" || strings.ContainsAny(text, "\n{}") {
					t.Errorf("%s %q: want one line without facts", name, text)
				}
			}
			if strings.HasSuffix(d.Cause, ".") {
				t.Error("the cause is a clause, without a full stop")
			}
			switch d.Class {
			case explain.Retry, explain.Wait, explain.Terminal:
			default:
				t.Errorf("class %q", d.Class)
			}
			// Whatever is known, there is something to do.
			if got := (explain.Problem{Code: d.Code}).Remedy(); len(got) == 0 {
				t.Error("no line of the remedy stands without facts")
			}
			facts := map[string]string{}
			for _, name := range d.Facts() {
				facts[name] = "FACT-" + name
			}
			all := explain.Problem{Code: d.Code, Facts: facts}.Remedy()
			if len(all) != len(d.Remedy) || strings.ContainsAny(strings.Join(all, ""), "|") {
				t.Errorf("with all facts %q, want %d lines", all, len(d.Remedy))
			}
		})
	}
}

// The codes that agent.StepError promises, and those of issue 3's list.
func TestCatalogueCovers(t *testing.T) {
	for _, code := range strings.Fields(`
		bmc-address-syntax bmc-name-unresolved bmc-unreachable bmc-refused bmc-tls-untrusted bmc-tls-legacy
		bmc-auth bmc-options inspect-fast-unsupported bmc-sessions-full bmc-slow bmc-many-systems bmc-same-system-twice bmc-secret-missing
		bmc-ipmi-cipher bmc-power-disagrees bmc-reset-stuck
		boot-no-dhcp boot-other-mac boot-other-dhcp boot-tftp-stalled boot-wrong-arch boot-local-disk
		boot-secureboot boot-mode-mismatch boot-kernel-no-callhome boot-ram boot-clock boot-unknown-machine
		boot-token-spent inspect-duplicate-mac inspect-missing-nic inspect-changed
		hint-none hint-many disk-small disk-in-use disk-readonly disk-mismatch disk-4k disk-io
		image-unreachable image-checksum image-checksum-file image-truncated image-format image-chunk
		userdata-missing userdata-invalid firstboot-silent boot-entry
		paused detached status-annotation hardware-profile held consumer limit delete-stuck secret-changed replica-moved
		raid-unsupported raid-impossible raid-failed raid-readback settings-refused firmware-failed
		secure-boot change-slow change-endless
		clean-failed inspect-failed step-refused softraid-failed softraid-disks agent-lost image-write-slow bmc-licence`) {
		if _, ok := explain.Lookup(code); !ok {
			t.Errorf("the catalogue lacks %s", code)
		}
	}
	if _, ok := explain.Lookup("no-such-code"); ok {
		t.Error("no-such-code is there")
	}
}

// Whoever names a diagnosis in the code names one that exists.
func TestCodesInUse(t *testing.T) {
	use := regexp.MustCompile(`\bCode[A-Za-z]*\s*(?:[:=]|:=)\s*"([a-z]+(?:-[a-z0-9]+)+)"`)
	for _, root := range []string{"../../pkg", "../../agent", "../../api"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range use.FindAllStringSubmatch(string(text), -1) {
				if _, ok := explain.Lookup(m[1]); !ok {
					t.Errorf("%s uses %s, which the catalogue lacks", path, m[1])
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestPagesAreFresh(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "errors")
	want := map[string]string{"README.md": string(explain.Index())}
	for _, d := range explain.Catalogue() {
		want[d.Code+".md"] = string(explain.Page(d))
	}
	got := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(path)] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/errors is stale, run go run ./pkg/explain/gen (-want +got):\n%s", diff)
	}
}
