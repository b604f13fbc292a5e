package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images/build:", err)
		os.Exit(1)
	}
}

// budget of kernel plus ramdisk, in bytes (design.md §8).
const budget = 25 << 20

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	dir := fs.String("out", "_build/images", "directory for the products")
	flavours := fs.String("flavours", "vm,server", "which ramdisks")
	add := fs.String("add", "", "tree of files to add to the ramdisks, such as deploy methods (docs/howto/custom-deploy.md)")
	fast := fs.Bool("fast", false, "compress little: for development")
	if err := fs.Parse(args); err != nil {
		return err
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(abs, ".cache"), 0o755); err != nil {
		return err
	}
	b := &builder{out: abs, cache: filepath.Join(abs, ".cache"), add: *add, fast: *fast, say: out}
	want := fs.Args()
	if len(want) == 0 {
		want = []string{"ramdisk"}
	}
	if err := missing(want); err != nil {
		return err
	}
	for _, w := range want {
		switch w {
		case "ramdisk":
			for f := range strings.SplitSeq(*flavours, ",") {
				if err := b.ramdisk(ctx, f); err != nil {
					return fmt.Errorf("ramdisk %s: %w", f, err)
				}
			}
		case "demo":
			if err := b.demo(ctx); err != nil {
				return fmt.Errorf("demo image: %w", err)
			}
		case "debian":
			if err := b.debian(ctx); err != nil {
				return fmt.Errorf("debian image: %w", err)
			}
		default:
			return fmt.Errorf("unknown product %q: want ramdisk, demo or debian", w)
		}
	}
	return nil
}

// missing names the packages to install, in one line to copy.
func missing(want []string) error {
	type tool struct{ path, pkg string }
	need := []tool{{"apt-get", "apt"}, {"dpkg-deb", "dpkg"}, {"zstd", "zstd"}, {"objcopy", "binutils"}, {stub, "systemd-boot-efi"}}
	if slices.Contains(want, "demo") || slices.Contains(want, "debian") {
		need = append(need, []tool{
			{"/usr/sbin/sfdisk", "fdisk"},
			{"/usr/sbin/mkfs.vfat", "dosfstools"},
			{"mcopy", "mtools"},
			{"grub-mkimage", "grub-common"},
			{grubDir + "/boot.img", "grub-pc-bin"},
		}...)
	}
	if slices.Contains(want, "debian") {
		need = append(need, tool{"mmdebstrap", "mmdebstrap"}, tool{"/usr/sbin/mkfs.ext4", "e2fsprogs"})
	}
	var pkgs []string
	for _, t := range need {
		_, err := exec.LookPath(t.path)
		if filepath.IsAbs(t.path) {
			_, err = os.Stat(t.path)
		}
		if err != nil && !slices.Contains(pkgs, t.pkg) {
			pkgs = append(pkgs, t.pkg)
		}
	}
	if len(pkgs) > 0 {
		return fmt.Errorf("tools are missing; run: sudo apt-get install -y --no-install-recommends %s", strings.Join(pkgs, " "))
	}
	return nil
}

type builder struct {
	out, cache string
	add        string // tree to add to ramdisks; empty: none
	fast       bool
	say        io.Writer
}

// product makes files unless they were made from the same inputs. The key is a
// digest of everything that decides their content.
func (b *builder) product(name, key string, files []string, make func() error) error {
	stamp := filepath.Join(b.cache, name+".key")
	old, err := os.ReadFile(stamp)
	fresh := err == nil && string(old) == key
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			fresh = false
		}
	}
	if fresh {
		return nil
	}
	if err := os.Remove(stamp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	began := time.Now()
	if err := make(); err != nil {
		return err
	}
	fmt.Fprintf(b.say, "built %s in %.1f s\n", name, time.Since(began).Seconds())
	return os.WriteFile(stamp, []byte(key), 0o644)
}

// digest of strings and of files' contents.
func digest(words []string, files ...string) (string, error) {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s\n", len(w), w)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		s := sha256.Sum256(b)
		h.Write(s[:])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sh runs a program; its output is shown only when it fails.
func sh(ctx context.Context, dir, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C", "MTOOLS_SKIP_CHECK=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// program builds one of our commands, static.
func (b *builder) program(ctx context.Context, pkg, out string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "github.com/ingot-metal/ingot/"+pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
