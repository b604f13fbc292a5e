package redfish

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// What the recorded trees say of BIOS settings, boot order and Secure Boot, as it
// stands in their JSON.
func TestRecordedSettings(t *testing.T) {
	type bios struct {
		Attributes, Registry int // 0: no registry
		ID                   string
		Pending              map[string]any
		Sample               map[string]any
	}
	for _, tc := range []struct {
		set    string
		bios   bios
		order  []string
		first  bmc.BootOption
		secure *bmc.SecureBootState
	}{
		{
			set: "dell-r750-idrac9",
			bios: bios{Attributes: 455, Registry: 682, ID: "BiosAttributeRegistry.v1_0_3", Pending: map[string]any{}, Sample: map[string]any{
				"BootMode": "Uefi", "ControlledTurboMinusBin": int64(0), "SetupPassword": "(hidden)", "SysPassword": "(hidden)", "PasswordStatus": "Unlocked", "IscsiDev1Con1ChapSecret": "(hidden)",
			}},
			order:  []string{"Boot0000", "Boot0001", "Boot0003", "Boot0004", "Boot0002"},
			first:  bmc.BootOption{Reference: "Boot0000", Name: "HTTP Device 1: NIC in Slot 5 Port 1", UEFIPath: "VenHw(986D1755-B9D0-4F8D-A0DA-D1DB18672045)", Description: "Current settings of the UEFI Boot option"},
			secure: &bmc.SecureBootState{Mode: "DeployedMode", Databases: map[string]int{"PK": 1, "KEK": 1, "db": 4, "dbx": 0}},
		},
		{
			set: "dmtf-public-rackmount1",
			bios: bios{Attributes: 10, ID: "BiosAttributeRegistryP89.v1_0_0", Sample: map[string]any{"ProcTurboMode": "Enabled"}, Pending: map[string]any{
				"AdminPhone": "(404) 555-1212", "EmbeddedSata": "Ahci", "NicBoot2": "NetworkBoot", "ProcTurboMode": "Disabled",
			}},
			secure: &bmc.SecureBootState{Mode: "UserMode", Databases: map[string]int{"PK": 1, "KEK": 2, "db": 3, "dbx": 0}},
		},
		{
			set:   "hpe-dl360-gen12-ilo7",
			bios:  bios{Attributes: 256, ID: "BiosAttributeRegistryU68.v1_1_40", Pending: map[string]any{}, Sample: map[string]any{}},
			order: []string{"Boot000D", "Boot0012", "Boot0014", "Boot0013", "Boot0015"},
			first: bmc.BootOption{Reference: "Boot000D", Name: "Generic USB Boot", UEFIPath: "UsbClass(0xFFFF,0xFFFF,0xFF,0xFF,0xFF)"},
			secure: &bmc.SecureBootState{Mode: "UserMode", Databases: map[string]int{
				"PK": 1, "KEK": 3, "db": 8, "dbx": 3, "dbt": 0, "dbr": 0,
			}},
		},
		{
			set: "lenovo-sr670-xcc",
			bios: bios{
				Attributes: 373, ID: "BiosAttributeRegistry.1.0.0", Sample: map[string]any{"Memory_MirrorMode": "Disabled"},
				Pending: map[string]any{"TrustedComputingGroup_DeviceOperation": "Clear"},
			},
			order:  []string{"Boot0000", "Boot0001", "Boot0002", "Boot0004", "Boot0003"},
			first:  bmc.BootOption{Reference: "Boot0000", Name: "ubuntu", UEFIPath: "HD_1_GPT_80230AA1_F37F_46CD_B99B_0B74B0EEBE35_0x800_0x219800_EFI_ubuntu_shimx64_efi", Description: "This resource shall be used to represent a single boot option contained within a system."},
			secure: &bmc.SecureBootState{Mode: "UserMode"},
		},
		{set: "openbmc-stock", bios: bios{Sample: map[string]any{}}},
		{
			set: "supermicro-gb300-nvl",
			bios: bios{Attributes: 360, Registry: 360, Pending: map[string]any{}, Sample: map[string]any{
				"ActiveCores": int64(144), "Above4GDecoding": "Enabled", "DisableChannelSparing": false,
			}},
			order: []string{"Boot0005", "Boot0006", "Boot0002", "Boot0004", "Boot0008", "Boot000A", "Boot000C", "Boot0007", "Boot0001", "Boot000B", "Boot0000", "Boot0003"},
			first: bmc.BootOption{Reference: "Boot0005", Name: "ubuntu"},
			secure: &bmc.SecureBootState{Unknown: true, Databases: map[string]int{
				"PK": -1, "KEK": -1, "db": -1, "dbx": -1, "dbt": -1,
			}},
		},
	} {
		t.Run(tc.set, func(t *testing.T) {
			ctx := context.Background()
			tr := openTree(t, tc.set)
			s, err := dial(t, serve(t, tr), admin, Options{})
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.BIOS(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got := bios{Attributes: len(b.Attributes), Registry: len(b.Registry), ID: b.RegistryID, Pending: b.Pending, Sample: map[string]any{}}
			for name := range tc.bios.Sample {
				got.Sample[name] = b.Attributes[name]
			}
			if d := cmp.Diff(tc.bios, got); d != "" {
				t.Errorf("BIOS (-want +got):\n%s", d)
			}
			for name, v := range b.Attributes {
				a, ok := b.Registry[name]
				if b.Registry == nil || a.ReadOnly || a.Type == typePassword {
					continue
				}
				if !ok {
					t.Errorf("%s is not in the registry", name)
				}
				// What the machine has, it takes.
				if _, problem := registry(b.Registry).check(name, v, b.Attributes); problem != "" {
					t.Errorf("%s: %s", name, problem)
				}
			}
			order, err := s.BootOrder(ctx)
			if tc.order == nil {
				if tc.set == "openbmc-stock" || tc.set == "dmtf-public-rackmount1" {
					wantError(t, err, bmc.Unsupported, "", "no boot order")
				}
			} else {
				var refs []string
				for _, o := range order {
					refs = append(refs, o.Reference)
					if o.Name == "" || o.UEFIPath == "" {
						t.Errorf("%+v", o)
					}
				}
				if d := cmp.Diff(tc.order, refs); d != "" || err != nil {
					t.Fatalf("order (-want +got), %v:\n%s", err, d)
				}
				if tc.set == "supermicro-gb300-nvl" {
					order[0].UEFIPath, order[0].Description = "", ""
				}
				if d := cmp.Diff(tc.first, order[0]); d != "" {
					t.Errorf("first (-want +got):\n%s", d)
				}
			}
			secure, err := s.SecureBoot(ctx)
			if tc.secure == nil {
				wantError(t, err, bmc.Unsupported, "", "no Secure Boot")
			} else if d := cmp.Diff(*tc.secure, secure); d != "" || err != nil {
				t.Errorf("Secure Boot (-want +got), %v:\n%s", err, d)
			}
		})
	}
	t.Run("checks", func(t *testing.T) {
		s, err := dial(t, serve(t, openTree(t, "dell-r750-idrac9")), admin, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.StageBIOS(context.Background(), map[string]any{"LogicalProc": "On"}, "")
		wantError(t, err, bmc.BadRequest, "", `attribute "LogicalProc": "On" is not among its values; give one of Enabled, Disabled`)
		_, err = s.StageBIOS(context.Background(), map[string]any{"SystemModelName": "R760"}, "")
		wantError(t, err, bmc.BadRequest, "", `attribute "SystemModelName": it is read-only`)
	})
}
