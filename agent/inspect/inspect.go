package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/agent/raid"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Collector reads one machine.
type Collector struct {
	Sys, Proc, Dev string        // roots
	BootMAC        string        // of the interface that booted; may be empty
	Limit          time.Duration // for one collector; 0: 20 s
	// Ask questions of live devices (ioctl, netlink). Off, only files are read.
	Live bool
	// Array tells what an array of software RAID is, by its kernel name; nil:
	// none is told of.
	Array func(name string) (raid.Array, bool)
}

// Here is the collector of the running machine.
func Here(bootMAC string) *Collector {
	return &Collector{Sys: "/sys", Proc: "/proc", Dev: "/dev", BootMAC: bootMAC, Live: true}
}

// part is one collector: it returns what to set, so that one that comes back
// late touches nothing.
type part struct {
	name string
	read func() (set func(*api.Inventory), err error)
}

// Inventory reads everything. It fails only when ctx ends.
func (c *Collector) Inventory(ctx context.Context, progress func(done, total int64, unit, detail string)) (api.Inventory, error) {
	var inv api.Inventory
	parts := []part{
		{"vendor", c.vendor},
		{"firmware", c.firmware},
		{"cpu", c.cpu},
		{"memory", c.memory},
		{"memory modules", c.modules},
		{"numa", c.numa},
		{"disks", c.disks},
		{"nics", c.nics},
		{"pci", c.pci},
		{"hostname", c.hostname},
	}
	for i, p := range parts {
		progress(int64(i), int64(len(parts)), "devices", p.name)
		c.run(ctx, p.name, p.read, &inv)
		if ctx.Err() != nil {
			return api.Inventory{}, ctx.Err()
		}
	}
	// Health is asked of each disk by itself: one that hangs is the one named.
	for i := range inv.Disks {
		d := &inv.Disks[i]
		if c.Live && d.Type == api.DiskNVMe {
			progress(int64(len(parts)), int64(len(parts)), "devices", "health of "+d.Name)
			name, at := d.Name, i
			c.run(ctx, "health of "+name, func() (func(*api.Inventory), error) {
				h, err := nvmeHealth(name)
				return func(inv *api.Inventory) { inv.Disks[at].Health = h }, err
			}, &inv)
		}
	}
	progress(int64(len(parts)), int64(len(parts)), "devices", "")
	return inv, ctx.Err()
}

func (c *Collector) run(ctx context.Context, name string, read func() (func(*api.Inventory), error), inv *api.Inventory) {
	type outcome struct {
		set func(*api.Inventory)
		err error
	}
	// A device that hangs keeps its goroutine in the kernel until the machine
	// reboots; that is why the answer goes to a channel with room.
	ch := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o = outcome{err: fmt.Errorf("panic: %v", p)}
			}
			ch <- o
		}()
		o.set, o.err = read()
	}()
	limit := time.NewTimer(cmp.Or(c.Limit, 20*time.Second))
	defer limit.Stop()
	select {
	case o := <-ch:
		if o.set != nil {
			o.set(inv)
		}
		if o.err != nil {
			inv.Skipped = append(inv.Skipped, api.Skipped{What: name, Reason: o.err.Error()})
		}
	case <-limit.C:
		inv.Skipped = append(inv.Skipped, api.Skipped{What: name, Reason: "did not answer in time"})
	case <-ctx.Done():
	}
}

func (c *Collector) hostname() (func(*api.Inventory), error) {
	name := readString(c.Proc, "sys/kernel/hostname")
	if name == "(none)" {
		name = ""
	}
	return func(inv *api.Inventory) { inv.Hostname = name }, nil
}

func (c *Collector) numa() (func(*api.Inventory), error) {
	root := filepath.Join(c.Sys, "devices/system/node")
	var nodes []api.NUMA
	for _, name := range list(root) {
		id, err := strconv.Atoi(strings.TrimPrefix(name, "node"))
		if err != nil || !strings.HasPrefix(name, "node") {
			continue
		}
		n := api.NUMA{ID: id, CPUs: readString(root, name, "cpulist")}
		for line := range strings.Lines(readString(root, name, "meminfo")) {
			// Node 0 MemTotal:         475248 kB
			if f := strings.Fields(line); len(f) >= 4 && f[2] == "MemTotal:" {
				kb, _ := strconv.ParseInt(f[3], 10, 64)
				n.Memory = kb << 10
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b api.NUMA) int { return a.ID - b.ID })
	return func(inv *api.Inventory) { inv.NUMA = nodes }, nil
}

// readString is the trimmed content of a small file, or empty: an attribute
// that is not there is no error in sysfs.
func readString(path ...string) string {
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
}

// readInt is the number in a file; def where there is none.
func readInt(def int64, path ...string) int64 {
	n, err := strconv.ParseInt(readString(path...), 0, 64)
	if err != nil {
		return def
	}
	return n
}

// list is the sorted names in a directory.
func list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// linkBase is the last element of a symbolic link, as driver links have it.
func linkBase(path ...string) string {
	target, err := os.Readlink(filepath.Join(path...))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}
