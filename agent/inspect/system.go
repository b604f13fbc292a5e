package inspect

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw"
	"github.com/siderolabs/go-smbios/smbios"

	api "github.com/ingot-metal/ingot/api/agent"
)

func (c *Collector) dmi(name string) string { return readString(c.Sys, "class/dmi/id", name) }

// UUID of SMBIOS type 1, as the kernel prints it.
func (c *Collector) UUID() string { return strings.ToLower(c.dmi("product_uuid")) }

// Mode is the firmware mode that this kernel was started in.
func (c *Collector) Mode() string {
	if _, err := os.Stat(filepath.Join(c.Sys, "firmware/efi")); err == nil {
		return api.FirmwareUEFI
	}
	return api.FirmwareBIOS
}

// MemoryMiB is what the kernel manages, without a rounded guess at what is built
// in.
func (c *Collector) MemoryMiB() int { return int(c.meminfo("MemTotal") >> 20) }

// meminfo is a line of /proc/meminfo in bytes.
func (c *Collector) meminfo(key string) int64 {
	for line := range strings.Lines(readString(c.Proc, "meminfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

func (c *Collector) vendor() (func(*api.Inventory), error) {
	v := api.Vendor{
		Manufacturer: c.dmi("sys_vendor"), Product: c.dmi("product_name"), Serial: c.dmi("product_serial"),
		SKU: c.dmi("product_sku"), Family: c.dmi("product_family"), UUID: c.UUID(),
		BoardSerial: c.dmi("board_serial"), AssetTag: c.dmi("chassis_asset_tag"),
	}
	var err error
	if v == (api.Vendor{}) {
		err = fmt.Errorf("the kernel shows no SMBIOS tables")
	}
	return func(inv *api.Inventory) { inv.Vendor = v }, err
}

func (c *Collector) firmware() (func(*api.Inventory), error) {
	f := api.Firmware{
		Mode: c.Mode(), SecureBoot: c.secureBoot(),
		Vendor: c.dmi("bios_vendor"), Version: c.dmi("bios_version"), Date: c.dmi("bios_date"),
	}
	return func(inv *api.Inventory) { inv.Firmware = f }, nil
}

// secureBoot reads the variable SecureBoot of the global vendor (UEFI 2.10,
// §3.3): four bytes of attributes, then one that is 1 when it is on.
func (c *Collector) secureBoot() bool {
	b, err := os.ReadFile(filepath.Join(c.Sys, "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
	return err == nil && len(b) == 5 && b[4] == 1
}

// ghw is told to stay in our roots, to run no tools and to warn nobody.
func (c *Collector) ghw() []any {
	return []any{
		ghw.WithPathOverrides(ghw.PathOverrides{"/sys": c.Sys, "/proc": c.Proc, "/dev": c.Dev}),
		ghw.WithDisableTools(), ghw.WithNullAlerter(),
	}
}

func (c *Collector) cpu() (func(*api.Inventory), error) {
	info, err := ghw.CPU(c.ghw()...)
	if err != nil {
		return nil, err
	}
	out := api.CPU{
		Arch: arch(readString(c.Proc, "sys/kernel/arch")), Sockets: len(info.Processors),
		Cores: int(info.TotalCores), Threads: int(info.TotalThreads),
		MHz: int(readInt(0, c.Sys, "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq") / 1000),
	}
	if len(info.Processors) > 0 {
		out.Model = info.Processors[0].Model
		out.Flags = slices.Sorted(slices.Values(info.Processors[0].Capabilities))
	}
	if out.MHz == 0 {
		out.MHz = c.cpuMHz()
	}
	return func(inv *api.Inventory) { inv.CPU = out }, nil
}

// cpuMHz is the present frequency, for machines without cpufreq (all guests).
func (c *Collector) cpuMHz() int {
	for line := range strings.Lines(readString(c.Proc, "cpuinfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "cpu MHz" {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return int(f + 0.5)
		}
	}
	return 0
}

// arch is what the kernel says (since 6.1), or what this program was built for.
func arch(kernel string) string {
	if kernel != "" {
		return kernel
	}
	return builtFor
}

func (c *Collector) memory() (func(*api.Inventory), error) {
	usable := c.meminfo("MemTotal")
	physical := c.blocks()
	if physical < usable {
		physical = usable
	}
	var err error
	if usable == 0 {
		err = fmt.Errorf("%s has no MemTotal", filepath.Join(c.Proc, "meminfo"))
	}
	return func(inv *api.Inventory) { inv.Memory.Physical, inv.Memory.Usable = physical, usable }, err
}

// blocks sums the memory blocks that are online; what firmware and the kernel's
// image hold is in them, unlike in MemTotal.
func (c *Collector) blocks() int64 {
	root := filepath.Join(c.Sys, "devices/system/memory")
	size, err := strconv.ParseInt(readString(root, "block_size_bytes"), 16, 64)
	if err != nil {
		return 0
	}
	var n int64
	for _, name := range list(root) {
		if strings.HasPrefix(name, "memory") && readString(root, name, "online") == "1" {
			n++
		}
	}
	return n * size
}

// modules are the populated slots (SMBIOS type 17). Unless firmware forgot some,
// they are what is built in; memory blocks are rounded up to 128 MiB and more.
func (c *Collector) modules() (func(*api.Inventory), error) {
	table, err := os.ReadFile(filepath.Join(c.Sys, "firmware/dmi/tables/DMI"))
	if err != nil {
		return nil, err
	}
	mods, err := decodeModules(table)
	var sum int64
	for _, m := range mods {
		sum += m.Size
	}
	return func(inv *api.Inventory) {
		inv.Memory.Modules = mods
		if sum >= inv.Memory.Usable && sum > 0 {
			inv.Memory.Physical = sum
		}
	}, err
}

func decodeModules(table []byte) (mods []api.Module, err error) {
	defer func() {
		// Firmware writes these tables; a decoder's slip must not cost the rest.
		if p := recover(); p != nil {
			mods, err = nil, fmt.Errorf("SMBIOS table: %v", p)
		}
	}()
	t, err := smbios.Decode(bytes.NewReader(table), smbios.Version{Major: 3})
	if err != nil {
		return nil, err
	}
	for _, d := range t.MemoryDevices {
		mib := int64(d.Size.Megabytes())
		if d.Size == 0x7fff {
			mib = int64(d.ExtendedSize) & 0x7fffffff // DSP0134 7.18.5
		}
		if mib <= 0 || d.Size == 0xffff {
			continue
		}
		mods = append(mods, api.Module{
			Slot: d.DeviceLocator, Size: mib << 20, Type: memoryType(int(d.MemoryType)), MTs: int(d.Speed),
			Vendor: known(d.Manufacturer), Serial: known(d.SerialNumber), Part: known(d.PartNumber),
		})
	}
	return mods, nil
}

// memoryType names a type by DSP0134 3.7, table 78. go-smbios v0.3.4 counts its
// names from 0 and without the reserved values, so that DDR4 has another's.
func memoryType(n int) string {
	switch n {
	case 0x03:
		return "DRAM"
	case 0x07:
		return "RAM"
	case 0x0f:
		return "SDRAM"
	case 0x12:
		return "DDR"
	case 0x13:
		return "DDR2"
	case 0x18:
		return "DDR3"
	case 0x1a:
		return "DDR4"
	case 0x1b, 0x1c, 0x1d, 0x1e:
		return []string{"LPDDR", "LPDDR2", "LPDDR3", "LPDDR4"}[n-0x1b]
	case 0x1f:
		return "NVDIMM"
	case 0x20, 0x21, 0x22, 0x23, 0x24:
		return []string{"HBM", "HBM2", "DDR5", "LPDDR5", "HBM3"}[n-0x20]
	}
	return ""
}

// known drops the ways in which firmware says that it does not know.
func known(s string) string {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "unknown", "not specified", "none", "no dimm", "other":
		return ""
	}
	return strings.TrimSpace(s)
}

// Available is what can be allocated now without swapping, in bytes.
func (c *Collector) Available() int64 { return c.meminfo("MemAvailable") }
