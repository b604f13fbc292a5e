package simbmc

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stmcginnis/gofish"
	"github.com/stmcginnis/gofish/redfish"
)

// TestGofish runs the Go library of the field against the face.
func TestGofish(t *testing.T) {
	s := newBench(t, nil)
	api, err := gofish.ConnectContext(testContext(t), gofish.ClientConfig{
		Endpoint: s.serveRedfish(t), Username: testUser, Password: testPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Logout()
	systems, err := api.Service.Systems()
	if err != nil || len(systems) != 1 {
		t.Fatalf("systems: %v, %v", systems, err)
	}
	system := systems[0]
	if system.UUID != testInfo().UUID || system.SerialNumber != "LAB0001" || system.MemorySummary.TotalSystemMemoryGiB != 16 || system.ProcessorSummary.LogicalProcessorCount != 8 {
		t.Errorf("system: %+v", system)
	}
	cpus, err := system.Processors()
	if err != nil || len(cpus) != 2 || cpus[0].TotalCores != 2 || cpus[0].TotalThreads != 4 || cpus[0].Model != testInfo().CPUModel {
		t.Errorf("processors: %+v, %v", cpus, err)
	}
	storage, err := system.Storage()
	if err != nil || len(storage) != 1 {
		t.Fatalf("storage: %v, %v", storage, err)
	}
	drives, err := storage[0].Drives()
	sizes := map[int64]string{}
	for _, d := range drives {
		sizes[d.CapacityBytes] = d.SerialNumber
	}
	if diff := cmp.Diff(map[int64]string{960e9: "LAB0001-D0", 8e12: ""}, sizes); err != nil || diff != "" {
		t.Errorf("drives: %v (-want +got):\n%s", err, diff)
	}
	nics, err := system.EthernetInterfaces()
	var macs []string // fetched in parallel, in no order
	for _, nic := range nics {
		macs = append(macs, nic.MACAddress)
	}
	slices.Sort(macs)
	if diff := cmp.Diff(testInfo().MACs, macs); err != nil || diff != "" {
		t.Errorf("nics: %v (-want +got):\n%s", err, diff)
	}
	if err := system.SetBoot(redfish.Boot{BootSourceOverrideTarget: redfish.PxeBootSourceOverrideTarget, BootSourceOverrideEnabled: redfish.OnceBootSourceOverrideEnabled}); err != nil {
		t.Error(err)
	}
	if err := system.Reset(redfish.OnResetType); err != nil {
		t.Error(err)
	}
	if err := system.Reset(redfish.ForceOffResetType); err != nil {
		t.Error(err)
	}
	managers, err := api.Service.Managers()
	if err != nil || len(managers) != 1 {
		t.Fatalf("managers: %v, %v", managers, err)
	}
	media, err := managers[0].VirtualMedia()
	if err != nil || len(media) != 1 {
		t.Fatalf("media: %v, %v", media, err)
	}
	if err := media[0].InsertMedia("http://192.0.2.1/boot.iso", true, true); err != nil {
		t.Error(err)
	}
	want := []string{"Pxe Once UEFI", "On", "ForceOff", "insert http://192.0.2.1/boot.iso"}
	if diff := cmp.Diff(want, s.details()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if stats := s.Stats(); stats.Logins != 1 || stats.AuthFailures != 0 {
		t.Errorf("stats: %+v", stats)
	}
}
