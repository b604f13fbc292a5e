package vm

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func TestSetBoot(t *testing.T) {
	virtio := Config{NICs: []NIC{{Model: VirtioNet}}}
	intel := Config{NICs: []NIC{{Model: VirtioNet}, {Model: E1000e}}}
	disabled := func(mode simbmc.BootMode) simbmc.BootOverride {
		return simbmc.BootOverride{Target: simbmc.BootNone, Enabled: simbmc.BootDisabled, Mode: mode}
	}
	tests := []struct {
		name    string
		cfg     Config
		mode    simbmc.BootMode
		in      simbmc.BootOverride
		want    settings // after one start
		refused bool
	}{
		{
			name: "once is spent, its mode stays", cfg: virtio, mode: simbmc.ModeLegacy,
			in:   simbmc.BootOverride{Target: simbmc.BootPXE, Enabled: simbmc.BootOnce, Mode: simbmc.ModeUEFI},
			want: settings{Mode: simbmc.ModeUEFI, Override: disabled(simbmc.ModeUEFI), Runs: 1},
		},
		{
			name: "continuous holds", cfg: virtio, mode: simbmc.ModeUEFI,
			in:   simbmc.BootOverride{Target: simbmc.BootDisk, Enabled: simbmc.BootContinuous},
			want: settings{Mode: simbmc.ModeUEFI, Override: simbmc.BootOverride{Target: simbmc.BootDisk, Enabled: simbmc.BootContinuous, Mode: simbmc.ModeUEFI}, Runs: 1},
		},
		{
			name: "nothing at all disables", cfg: virtio, mode: simbmc.ModeLegacy,
			want: settings{Mode: simbmc.ModeLegacy, Override: disabled(simbmc.ModeLegacy), Runs: 1},
		},
		{
			name: "HTTP boot wants UEFI", cfg: virtio, mode: simbmc.ModeLegacy, refused: true,
			in: simbmc.BootOverride{Target: simbmc.BootUEFIHTTP, Enabled: simbmc.BootOnce},
		},
		{
			name: "HTTP boot wants virtio", cfg: intel, mode: simbmc.ModeUEFI, refused: true,
			in: simbmc.BootOverride{Target: simbmc.BootUEFIHTTP, Enabled: simbmc.BootOnce},
		},
		{
			name: "HTTP boot of a given URI", cfg: virtio, mode: simbmc.ModeUEFI, refused: true,
			in: simbmc.BootOverride{Target: simbmc.BootUEFIHTTP, Enabled: simbmc.BootOnce, HTTPURI: "http://x/y"},
		},
		{
			name: "no setup screen", cfg: virtio, mode: simbmc.ModeUEFI, refused: true,
			in: simbmc.BootOverride{Target: simbmc.BootBIOSSetup, Enabled: simbmc.BootOnce},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := settings{Mode: tt.mode}.set(tt.cfg, tt.in)
			if tt.refused {
				if !errors.Is(err, simbmc.ErrUnsupported) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.followed()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
