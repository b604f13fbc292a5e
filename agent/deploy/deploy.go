package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/disk"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Dir is where a ramdisk has its methods.
const Dir = "/usr/lib/ingot/deploy.d"

// longest bounds a method whatever the step says.
const longest = 6 * time.Hour

// Runner runs the methods of one directory.
type Runner struct {
	Dir    string // Dir; another in tests
	Temp   string // where a step's directory is made: a file system in memory
	Finder disk.Finder
	// Say is told each line that a method prints; it must not block. Nil: nobody.
	Say func(line string)
}

// Methods lists the methods that there are: regular files that may be executed and
// whose names are valid. A directory that does not exist has none.
func (r Runner) Methods() []string {
	entries, err := os.ReadDir(r.Dir) // sorted
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if len(out) < api.MaxMethods && r.method(e.Name()) == nil {
			out = append(out, e.Name())
		}
	}
	return out
}

func (r Runner) method(name string) error {
	if !api.ValidMethod(name) {
		return fmt.Errorf("%.80q is no name of a deploy method", name)
	}
	info, err := os.Lstat(filepath.Join(r.Dir, name))
	if err != nil {
		return fmt.Errorf("there is no deploy method %s", name)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("deploy method %s is no file that can be executed", name)
	}
	return nil
}

// Deploy runs a method and waits for its end.
func (r Runner) Deploy(ctx context.Context, s api.DeployStep, src agent.Source, p agent.Progress) (api.DeployResult, error) {
	if err := r.method(s.Method); err != nil {
		return api.DeployResult{}, fault.New(fault.StepRefused, "%w", err)
	}
	files := api.DeployFiles{}
	if s.Files != "" {
		raw, err := src.Secret(ctx, s.Files, s.FilesSize)
		if err == nil {
			err = json.Unmarshal(raw, &files)
		}
		if err != nil {
			return api.DeployResult{}, fault.New(fault.DeployFailed, "what the method is to be given: %w", err)
		}
	}
	// That the disk is the one meant, and nobody's: the method opens it by itself.
	d, err := r.Finder.Open(s.Disk)
	if err != nil {
		return api.DeployResult{}, err
	}
	ref, path := d.Ref(), d.Path
	if err := d.Close(); err != nil {
		return api.DeployResult{}, fault.New(fault.DiskIO, "%w", err)
	}
	dir, err := os.MkdirTemp(r.Temp, "deploy-") // 0700
	if err != nil {
		return api.DeployResult{}, fault.New(fault.DeployFailed, "%w", err)
	}
	defer os.RemoveAll(dir)
	if err := write(dir, s, ref, files); err != nil {
		return api.DeployResult{}, fault.New(fault.DeployFailed, "%w", err)
	}
	if err := r.run(ctx, s, path, dir, p); err != nil {
		return api.DeployResult{}, err
	}
	return api.DeployResult{Disk: ref}, nil
}

// write lays out what a method is given. Every name is ours.
func write(dir string, s api.DeployStep, ref api.DiskRef, files api.DeployFiles) error {
	diskJSON, err := json.Marshal(ref)
	if err != nil {
		return err
	}
	out := map[string][]byte{"disk.json": diskJSON}
	if s.Image != nil {
		if out["image.json"], err = json.Marshal(s.Image); err != nil {
			return err
		}
	}
	for _, name := range []string{"meta_data.json", "network_data.json", "user_data"} {
		if b, ok := files[name]; ok {
			out[name] = b
		}
	}
	for name, b := range out {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// environ is all that a method finds in its environment (docs/howto/custom-deploy.md).
func environ(s api.DeployStep, diskPath, dir string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C",
		"INGOT_METHOD=" + s.Method,
		"INGOT_DIR=" + dir,
		"INGOT_DISK=" + diskPath,
		"INGOT_DISK_SERIAL=" + s.Disk.Serial,
		"INGOT_DISK_WWN=" + s.Disk.WWN,
		"INGOT_DISK_SIZE=" + strconv.FormatInt(s.Disk.Size, 10),
	}
	if i := s.Image; i != nil {
		env = append(env, "INGOT_IMAGE_URL="+i.URL, "INGOT_IMAGE_CHECKSUM="+i.Checksum,
			"INGOT_IMAGE_CHECKSUM_TYPE="+i.ChecksumType, "INGOT_IMAGE_FORMAT="+i.Format)
	}
	return env
}

func (r Runner) run(ctx context.Context, s api.DeployStep, diskPath, dir string, p agent.Progress) error {
	limit := longest
	if d := time.Duration(s.Seconds) * time.Second; d > 0 && d < limit {
		limit = d
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := &tail{say: func(line string) {
		if r.Say != nil {
			r.Say(line)
		}
		p(0, 0, "", line)
	}}
	c := exec.CommandContext(ctx, filepath.Join(r.Dir, s.Method))
	c.Dir, c.Env = dir, environ(s, diskPath, dir)
	c.Stdout, c.Stderr = out, out
	// A group of its own, so that what it started ends with it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	began := time.Now()
	err := c.Run()
	if c.Process != nil {
		// What it left behind must not go on writing. None is left in most cases.
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
	out.flush()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("not done after %s", time.Since(began).Round(time.Second))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("the method cannot be started (its interpreter may not be in the ramdisk): %w", err)
	}
	return fault.New(fault.DeployFailed, "%w\n%s", err, out.last())
}
