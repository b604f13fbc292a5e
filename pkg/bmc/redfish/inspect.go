package redfish

import (
	"context"
	"math"
	"path"
	"strings"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Inspector = (*System)(nil)

// hardware is what inspection wants of DSP0268 ComputerSystem.
type hardware struct {
	BIOSVersion text              `json:"BiosVersion"`
	AssetTag    text              `json:"AssetTag"`
	Processors  resourceRef       `json:"Processors"`
	Memory      resourceRef       `json:"Memory"`
	Storage     resourceRef       `json:"Storage"`
	Simple      resourceRef       `json:"SimpleStorage"`
	Graphics    resourceRef       `json:"GraphicsControllers"`
	SecureBoot  resourceRef       `json:"SecureBoot"`
	PCIe        list[resourceRef] `json:"PCIeDevices"`
	CPUs        struct {
		Count   amount `json:"Count"`
		Cores   amount `json:"CoreCount"`
		Threads amount `json:"LogicalProcessorCount"`
		Model   text   `json:"Model"`
	} `json:"ProcessorSummary"`
	RAM struct {
		GiB amount `json:"TotalSystemMemoryGiB"`
	} `json:"MemorySummary"`
	Links struct {
		Chassis list[resourceRef] `json:"Chassis"`
	} `json:"Links"`
}

// inspection is an Inspect under way.
type inspection struct {
	*treeWalk
	cs  *computerSystem
	hw  hardware
	inv agent.Inventory
}

// Inspect implements bmc.Inspector. What matters is read first, so that the
// budget of requests (walkGoal) is spent on it; names of devices are those that
// the BMC gives them, since no operating system has named any. A machine that
// is off may show less.
func (s *System) Inspect(ctx context.Context) (agent.Inventory, error) {
	const op = "inspect the machine"
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return agent.Inventory{}, err
	}
	cs, a, err := s.read(ctx, op)
	if err != nil {
		return agent.Inventory{}, err
	}
	w.spent++
	in := &inspection{treeWalk: w, cs: cs}
	if err := decode(op, a.body, &in.hw); err != nil {
		return agent.Inventory{}, err
	}
	in.vendor(ctx)
	for _, step := range []func(context.Context) error{
		in.processors, in.baseboards, in.storage, in.interfaces, in.manager, in.firmware,
		in.secureBoot, in.graphics, in.chassis,
	} {
		if err := step(ctx); err != nil {
			return agent.Inventory{}, err
		}
	}
	in.inv.Skipped = in.skipped
	return in.inv, nil
}

func (in *inspection) vendor(ctx context.Context) {
	in.inv.Vendor = agent.Vendor{
		Manufacturer: in.s.manufacturer(ctx, in.cs),
		Product:      clean(in.cs.Model),
		SKU:          clean(in.cs.SKU),
		UUID:         strings.ToLower(clean(in.cs.UUID)),
		AssetTag:     clean(in.hw.AssetTag),
	}
	in.inv.Vendor.Serial = in.s.serial(in.cs)
	if own := clean(in.cs.Serial); own != in.inv.Vendor.Serial {
		in.inv.Vendor.BoardSerial = own
	}
	switch {
	case strings.EqualFold(string(in.cs.Boot.Mode), string(bmc.BootModeUEFI)):
		in.inv.Firmware.Mode = agent.FirmwareUEFI
	case strings.EqualFold(string(in.cs.Boot.Mode), string(bmc.BootModeLegacy)):
		in.inv.Firmware.Mode = agent.FirmwareBIOS
	}
}

// serial is the machine's serial number. Some BMCs give the main board's there,
// and the service tag that the machine's SMBIOS calls its serial number as the
// SKU (Launchpad 2146585).
func (s *System) serial(cs *computerSystem) string {
	sku := clean(cs.SKU)
	if sku != "" && s.has(quirk.SerialIsSKU) {
		return sku
	}
	return clean(cs.Serial)
}

// manufacturer is the machine's maker. Where a BMC is known to leave it blank,
// the service root may name it (ServiceRoot.Vendor, DSP0268 1.5).
func (s *System) manufacturer(ctx context.Context, cs *computerSystem) string {
	name := clean(cs.Manufacturer)
	if name != "" || !s.has(quirk.NoManufacturer) {
		return name
	}
	root, err := s.e.serviceRoot(ctx)
	if err != nil {
		return ""
	}
	if name = clean(root.Vendor); name == "" && len(root.OEM) == 1 {
		name = clean(text(root.OEM[0]))
	}
	return name
}

// processors reads CPUs and memory of the machine itself.
func (in *inspection) processors(ctx context.Context) error {
	return in.compute(ctx, in.hw)
}

// compute reads the accelerators of a system, and its CPUs and memory, unless
// another system has told them: a board may list the same CPUs on both. Where
// the BMC lists none, its summary has to do.
func (in *inspection) compute(ctx context.Context, hw hardware) error {
	raws, err := in.collection(ctx, "processors", hw.Processors)
	if err != nil {
		return err
	}
	cpu, accelerators := cpusOf(decodeAll[processor](raws))
	in.inv.Accelerators = append(in.inv.Accelerators, accelerators...)
	if in.inv.CPU.Sockets == 0 {
		in.inv.CPU = summarised(cpu, hw)
	}
	if in.inv.Memory.Physical > 0 {
		return nil
	}
	before := len(in.skipped)
	if raws, err = in.collection(ctx, "memory", hw.Memory); err != nil {
		return err
	}
	modules, total := modulesOf(decodeAll[dimm](raws))
	if said := float64(hw.RAM.GiB); (total == 0 || len(in.skipped) > before) && said > 0 && said < 1<<24 {
		// The summary is second best: some BMCs count GB there.
		total = max(total, int64(math.Round(said*(1<<30))))
	}
	in.inv.Memory.Modules, in.inv.Memory.Physical = modules, total
	return nil
}

// baseboards reads what hangs on further systems behind the same BMC: NVIDIA's
// boards list the GPUs, and on some also the host's CPUs and memory, as systems
// of their own, HGX_* (recorded tree supermicro-gb300-nvl).
func (in *inspection) baseboards(ctx context.Context) error {
	if in.inv.CPU.Sockets > 0 && !in.s.has(quirk.HostSystem) {
		return nil
	}
	root, err := in.s.e.serviceRoot(ctx)
	if err != nil {
		return err
	}
	var all struct {
		Members list[resourceRef] `json:"Members"`
	}
	if ok, err := in.get(ctx, "further systems", string(root.Systems), &all); !ok {
		return err
	}
	for _, m := range all.Members[:min(len(all.Members), 8)] {
		if !strings.HasPrefix(path.Base(strings.TrimRight(m.id, "/")), "HGX_") || sameURI(m.id, in.s.uri) {
			continue
		}
		var hw hardware
		ok, err := in.get(ctx, "baseboard", m.id, &hw)
		if err != nil {
			return err
		}
		if ok {
			if err := in.compute(ctx, hw); err != nil {
				return err
			}
		}
	}
	return nil
}

// manager reads the BMC's own version.
func (in *inspection) manager(ctx context.Context) error {
	if len(in.cs.Links.ManagedBy) == 0 {
		return nil
	}
	var m struct {
		Version text `json:"FirmwareVersion"`
	}
	_, err := in.get(ctx, "manager", string(in.cs.Links.ManagedBy[0]), &m)
	in.inv.Firmware.BMC = clean(m.Version)
	return err
}

// firmware fills in the BIOS. A version often ends with its date, as SMBIOS
// writes it: "U68 v1.40 (05/22/2025)"; else the firmware inventory may know.
func (in *inspection) firmware(ctx context.Context) error {
	f := &in.inv.Firmware
	f.Version = clean(in.hw.BIOSVersion)
	f.Date = dateIn(f.Version)
	if f.Version != "" || f.Date != "" {
		f.Vendor = in.inv.Vendor.Manufacturer
	}
	if f.Version != "" && f.Date != "" || !in.room(1) {
		return nil
	}
	raws, err := in.collection(ctx, "firmware inventory", resourceRef{id: firmwareURI})
	if err != nil {
		return err
	}
	b := bestBIOS(decodeAll[software](raws), in.s.uri, f.Version)
	if b == nil {
		return nil
	}
	if f.Version == "" {
		f.Version, f.Vendor = clean(b.Version), in.inv.Vendor.Manufacturer
	}
	if maker := clean(b.Manufacturer); maker != "" {
		f.Vendor = maker
	}
	if f.Date == "" {
		f.Date = usDate(clean(b.Released))
	}
	return nil
}

func (in *inspection) secureBoot(ctx context.Context) error {
	if in.hw.SecureBoot.id == "" || !in.room(1) {
		return nil
	}
	var sb struct {
		Current text `json:"SecureBootCurrentBoot"`
	}
	_, err := in.get(ctx, "Secure Boot", in.hw.SecureBoot.id, &sb)
	in.inv.Firmware.SecureBoot = strings.EqualFold(string(sb.Current), "Enabled")
	return err
}

// graphics reads display adapters, where a BMC lists them apart from processors.
func (in *inspection) graphics(ctx context.Context) error {
	if in.hw.Graphics.id == "" && !in.hw.Graphics.full() || !in.room(1) {
		return nil
	}
	raws, err := in.collection(ctx, "graphics controllers", in.hw.Graphics)
	if err != nil {
		return err
	}
	for _, p := range decodeAll[processor](raws) {
		if !p.Status.absent() {
			in.inv.Accelerators = append(in.inv.Accelerators, p.accelerator(agent.AcceleratorGPU))
		}
	}
	return nil
}
