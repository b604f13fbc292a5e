package admission_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/pkg/admission"
)

// host is the good host that every case changes.
const host = `
metadata: {name: worker-1, namespace: rack}
spec:
  online: true
  bootMACAddress: "52:54:00:12:34:56"
  bmc: {address: "redfish://10.0.0.3/redfish/v1/Systems/1", credentialsName: s1}
`

// decode merges change into the good host, as a merge patch would.
func decode(t *testing.T, change string) *admission.Host {
	t.Helper()
	var base, patch map[string]any
	if err := yaml.Unmarshal([]byte(host), &base); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(change), &patch); err != nil {
		t.Fatal(err)
	}
	merge(base, patch)
	raw, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	h, err := admission.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func merge(into, from map[string]any) {
	for k, v := range from {
		if inner, ok := v.(map[string]any); ok {
			if old, ok := into[k].(map[string]any); ok {
				merge(old, inner)
				continue
			}
		}
		into[k] = v
	}
}

// check compares an answer with what it must contain; nothing: no error.
func check(t *testing.T, errs error, want []string) {
	t.Helper()
	got := ""
	if errs != nil {
		got = errs.Error()
	}
	if len(want) == 0 && got != "" {
		t.Errorf("refused: %s", got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %q, want it to say %q", got, w)
		}
	}
}

func TestCreate(t *testing.T) {
	const digest = "f1ab1d5a1c2f9c4f2a9f6b4f6c38f0a93d3f5a9be7c8b1c8a4a1b9e8d7c6b5a4"
	for _, tc := range []struct {
		name   string
		change string
		want   []string
	}{
		{name: "good", change: `{}`},
		{name: "unmanaged", change: `spec: {bmc: {address: "", credentialsName: ""}}`},
		{name: "name with other letters", change: `metadata: {name: "wörker"}`, want: []string{"metadata.name", "only letters"}},
		{name: "name is a UUID", change: `metadata: {name: 6c2a3f2e-6f0e-4b52-8a5b-0d9e2d1b7a11}`, want: []string{"metadata.name", "node-6c2a3f2e"}},

		{name: "unknown scheme", change: `spec: {bmc: {address: "redfsh://10.0.0.3"}}`, want: []string{"spec.bmc.address", "redfsh", "did you mean redfish"}},
		{name: "removed scheme", change: `spec: {bmc: {address: "irmc://10.0.0.3"}}`, want: []string{"spec.bmc.address", "was removed"}},
		{name: "address with half a password shows none", change: `spec: {bmc: {address: "redfish://root:hunter2/x@10.0.0.3"}}`, want: []string{"spec.bmc.address", "(hidden)@10.0.0.3", "credentialsName"}},
		{name: "image with a password shows none", change: `spec: {image: {url: "file://root:hunter2@server/x?token=hunter2", checksum: "` + digest + `"}}`, want: []string{"spec.image.url", "file://(hidden)@server/x?(hidden)", "scheme"}},
		{name: "image that is no URL shows none", change: `spec: {image: {url: "http://root:hunter2/3@server:x/y", checksum: "` + digest + `"}}`, want: []string{"spec.image.url", "(hidden)@server"}},
		{name: "oci checksum with a password shows none", change: `spec: {image: {url: "oci://registry/x@sha256:12", checksum: "https://root:hunter2@server/x"}}`, want: []string{"spec.image.checksum", "https://(hidden)@server/x"}},
		{name: "status with a password shows none", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{"provisioning":{"image":{"url":"http://root:hunter2@x"}},"errorType":"x"}'}}`, want: []string{"bytes)", "errorType"}},
		{name: "address with a password shows none", change: `spec: {bmc: {address: "redfish://root:hunter2@10.0.0.3"}}`, want: []string{"spec.bmc.address", "(hidden)@10.0.0.3"}},
		{name: "bare address is ipmi", change: `spec: {bmc: {address: "10.0.0.3:623"}}`},
		{name: "ipmi cannot do hardware RAID", change: `spec: {bmc: {address: "ipmi://10.0.0.3"}, raid: {hardwareRAIDVolumes: [{level: "1"}]}}`, want: []string{"spec.raid.hardwareRAIDVolumes", "use a Redfish address"}},
		{name: "ipmi cannot do secure boot", change: `spec: {bmc: {address: "ipmi://10.0.0.3"}, bootMode: UEFISecureBoot}`, want: []string{"spec.bootMode", "UEFISecureBoot"}},
		{name: "redfish can", change: `spec: {bootMode: UEFISecureBoot, raid: {hardwareRAIDVolumes: [{level: "1"}]}}`},
		{name: "libvirt needs a MAC", change: `spec: {bmc: {address: "libvirt://10.0.0.3"}, bootMACAddress: ""}`, want: []string{"spec.bootMACAddress", "Required"}},
		{name: "no inspection needs a MAC", change: `spec: {bootMACAddress: "", inspectionMode: disabled}`, want: []string{"spec.bootMACAddress", "not inspected"}},
		{name: "no inspection by annotation needs a MAC", change: `{metadata: {annotations: {inspect.metal3.io: disabled}}, spec: {bootMACAddress: ""}}`, want: []string{"spec.bootMACAddress"}},
		{name: "redfish needs no MAC", change: `spec: {bootMACAddress: ""}`},
		{name: "MAC of the wrong length", change: `spec: {bootMACAddress: "52:54:00:12:34:56:78:90"}`, want: []string{"spec.bootMACAddress", "52:54:00:12:34:56"}},
		{name: "fast inspection", change: `spec: {inspectionMode: fast}`},
		{name: "fast inspection over ipmi", change: `spec: {inspectionMode: fast, bmc: {address: "ipmi://10.0.0.3"}}`, want: []string{"spec.inspectionMode", "fast"}},

		{name: "firmware", change: `spec: {firmware: {sriovEnabled: true}}`, want: []string{"spec.firmware", "HostFirmwareSettings"}},
		{name: "own secrets", change: `spec: {userData: {name: u, namespace: rack}, metaData: {name: m}}`},
		{name: "foreign secrets", change: `spec: {userData: {name: u, namespace: x}, networkData: {name: net, namespace: x}, metaData: {name: m, namespace: x}}`, want: []string{"spec.userData.namespace", "spec.networkData.namespace", "spec.metaData.namespace", "copy it into rack"}},
		{name: "power", change: `spec: {online: false, disablePowerOff: true}`, want: []string{"spec.online", "disablePowerOff"}},

		{name: "two kinds of RAID", change: `spec: {raid: {hardwareRAIDVolumes: [{level: "1"}], softwareRAIDVolumes: [{level: "1"}]}}`, want: []string{"spec.raid.softwareRAIDVolumes", "keep one"}},
		{name: "disks without controller", change: `spec: {raid: {hardwareRAIDVolumes: [{level: "1", physicalDisks: [a, b]}]}}`, want: []string{"spec.raid.hardwareRAIDVolumes[0].controller", "Required"}},
		{name: "disks counted wrong", change: `spec: {raid: {hardwareRAIDVolumes: [{level: "1", controller: c, physicalDisks: [a, b], numberOfPhysicalDisks: 3}]}}`, want: []string{"hardwareRAIDVolumes[0].numberOfPhysicalDisks", "3"}},
		{name: "root volume", change: `spec: {raid: {softwareRAIDVolumes: [{level: "1", rootVolume: true}, {level: "0"}]}}`},
		{name: "two root volumes", change: `spec: {raid: {softwareRAIDVolumes: [{level: "1", rootVolume: true}, {level: "1", rootVolume: true}]}}`, want: []string{"softwareRAIDVolumes[1].rootVolume", "Duplicate"}},
		{name: "interfaces", change: `spec: {networkInterfaces: [{name: eth0, hostNetworkAttachment: {name: a}}, {macAddress: "52:54:00:12:34:56", switchPort: {switchID: x, portID: y}}]}`},
		{name: "interface by nothing", change: `spec: {networkInterfaces: [{hostNetworkAttachment: {name: a}}]}`, want: []string{"spec.networkInterfaces[0]", "exactly one"}},
		{name: "interface by both", change: `spec: {networkInterfaces: [{name: eth0, macAddress: "52:54:00:12:34:56"}]}`, want: []string{"spec.networkInterfaces[0]", "exactly one"}},
		{name: "interface MAC", change: `spec: {networkInterfaces: [{macAddress: "52:54"}]}`, want: []string{"spec.networkInterfaces[0].macAddress", "52:54"}},
		{name: "interface twice", change: `spec: {networkInterfaces: [{macAddress: "52:54:00:12:34:AB"}, {macAddress: "52:54:00:12:34:ab"}]}`, want: []string{"spec.networkInterfaces[1].macAddress", "Duplicate"}},
		{name: "attachment without a name", change: `spec: {networkInterfaces: [{name: eth0, hostNetworkAttachment: {namespace: x}}]}`, want: []string{"spec.networkInterfaces[0].hostNetworkAttachment.name", "Required"}},
		{name: "root volume of another level", change: `spec: {raid: {softwareRAIDVolumes: [{level: "0", rootVolume: true}]}}`, want: []string{"rootVolume", "level 1"}},
		{name: "root volume and hints", change: `spec: {rootDeviceHints: {model: x}, raid: {softwareRAIDVolumes: [{level: "1", rootVolume: true}]}}`, want: []string{"rootVolume", "rootDeviceHints"}},

		{name: "device", change: `spec: {rootDeviceHints: {deviceName: /dev/nvme0n1}}`},
		{name: "device by path", change: `spec: {rootDeviceHints: {deviceName: "/dev/disk/by-path/pci-0000:01:00.0-nvme-1"}}`},
		{name: "device by id", change: `spec: {rootDeviceHints: {deviceName: /dev/disk/by-id/x}}`, want: []string{"spec.rootDeviceHints.deviceName", "/dev/disk/by-path/NAME"}},
		{name: "device without path", change: `spec: {rootDeviceHints: {deviceName: sda}}`, want: []string{"spec.rootDeviceHints.deviceName", "sda"}},

		{name: "image", change: `spec: {image: {url: "https://x/y.raw", checksum: ` + digest + `, checksumType: sha256}}`},
		{name: "image of automatic checksum type", change: `spec: {image: {url: "https://x/y.raw", checksum: ` + digest + `, checksumType: auto}}`},
		{name: "image without checksum", change: `spec: {image: {url: "https://x/y.raw"}}`, want: []string{"spec.image.checksum", "SHA-256"}},
		{name: "live ISO without checksum", change: `spec: {image: {url: "https://x/y.iso", format: live-iso}}`},
		{name: "OCI image", change: `spec: {image: {url: "oci://x/y:z"}}`},
		{name: "OCI image with checksum", change: `spec: {image: {url: "oci://x/y:z", checksum: ` + digest + `}}`, want: []string{"spec.image.checksum", "leave it out"}},
		{name: "local file", change: `spec: {image: {url: "file:///etc/passwd", checksum: ` + digest + `}}`, want: []string{"spec.image.url", "http, https or oci"}},
		{name: "path", change: `spec: {image: {url: "/y.raw", checksum: ` + digest + `}}`, want: []string{"spec.image.url"}},
		{name: "no server", change: `spec: {image: {url: "https:///y.raw", checksum: ` + digest + `}}`, want: []string{"spec.image.url", "names no server"}},
		{name: "no URL", change: `spec: {image: {url: "http://[", checksum: ` + digest + `}}`, want: []string{"spec.image.url", "no URL"}},

		{name: "reboot", change: `metadata: {annotations: {reboot.metal3.io: "", reboot.metal3.io/capm3: '{"mode":"hard","force":true}'}}`},
		{name: "reboot mode", change: `metadata: {annotations: {reboot.metal3.io/x: '{"mode":"warm"}'}}`, want: []string{"metadata.annotations[reboot.metal3.io/x]", "hard or soft"}},
		{name: "reboot not JSON", change: `metadata: {annotations: {reboot.metal3.io: now}}`, want: []string{"metadata.annotations[reboot.metal3.io]", "leave it empty"}},
		{name: "other annotation", change: `metadata: {annotations: {reboot.metal3.iox: now}}`},
		{name: "console", change: `metadata: {annotations: {ingot.dev/console: always}}`},
		{name: "console value", change: `metadata: {annotations: {ingot.dev/console: record}}`, want: []string{"metadata.annotations[ingot.dev/console]", "operations, always or never"}},
		{name: "plain detach", change: `metadata: {annotations: {baremetalhost.metal3.io/detached: assisted-service}}`},
		{name: "delayed detach", change: `metadata: {annotations: {baremetalhost.metal3.io/detached: '{"deleteAction":"delay","force":true}'}}`},
		{name: "detach action", change: `metadata: {annotations: {baremetalhost.metal3.io/detached: '{"deleteAction":"dela"}'}}`, want: []string{"metadata.annotations[baremetalhost.metal3.io/detached]", "dela", "delay or delete"}},
		{name: "detach not JSON", change: `metadata: {annotations: {baremetalhost.metal3.io/detached: '{"force":1}'}}`, want: []string{"baremetalhost.metal3.io/detached", "leave it empty"}},
		{name: "strict hints", change: `metadata: {annotations: {ingot.dev/strict-root-device-hints: "true"}}`},
		{name: "strict hints value", change: `metadata: {annotations: {ingot.dev/strict-root-device-hints: "yes"}}`, want: []string{"metadata.annotations[ingot.dev/strict-root-device-hints]", "true or false"}},
		{name: "inspect", change: `metadata: {annotations: {inspect.metal3.io: ""}}`},
		{name: "inspect value", change: `metadata: {annotations: {inspect.metal3.io: yes please}}`, want: []string{"metadata.annotations[inspect.metal3.io]", "disabled"}},
		{name: "inspect contradicts", change: `{metadata: {annotations: {inspect.metal3.io: disabled}}, spec: {inspectionMode: agent}}`, want: []string{"spec.inspectionMode", "the opposite"}},
		{name: "inspect agrees", change: `{metadata: {annotations: {inspect.metal3.io: disabled}}, spec: {inspectionMode: disabled}}`},
		{name: "hardware", change: `{metadata: {annotations: {inspect.metal3.io/hardwaredetails: '{"cpu":{"arch":"x86_64"}}'}}, spec: {inspectionMode: disabled}}`},
		{name: "hardware with inspection", change: `metadata: {annotations: {inspect.metal3.io/hardwaredetails: '{}'}}`, want: []string{"hardwaredetails", "inspectionMode to disabled"}},
		{name: "hardware of unknown fields", change: `{metadata: {annotations: {inspect.metal3.io/hardwaredetails: '{"gpu":1}'}}, spec: {inspectionMode: disabled}}`, want: []string{"hardwaredetails", "unknown field"}},
		{name: "status", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{"operationalStatus":"servicing","errorType":"detach error","errorMessage":"","provisioningFailCount":2,"lastAttemptedImage":{"url":"x"}}'}}`},
		{name: "status of unknown fields", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{"x":1}'}}`, want: []string{"baremetalhost.metal3.io/status", "unknown field"}},
		{name: "status followed by something", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{} {}'}}`, want: []string{"something follows"}},
		{name: "operational status", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{"operationalStatus":"fine"}'}}`, want: []string{"operationalStatus", "fine"}},
		{name: "error type", change: `metadata: {annotations: {baremetalhost.metal3.io/status: '{"errorType":"bad"}'}}`, want: []string{"errorType", "bad"}},

		{name: "BMC options", change: `{metadata: {annotations: {ingot.dev/bmc-quirks: "vmedia-patch,-etag-required", ingot.dev/bmc-tls: legacy, ingot.dev/bmc-pin: first-use}}, spec: {bmc: {address: "redfish://10.0.0.3"}}}`},
		{name: "BMC options before an address", change: `{metadata: {annotations: {ingot.dev/bmc-pin: x}}, spec: {bmc: {address: ""}}}`},
		{
			name: "BMC options, all wrong", change: `{metadata: {annotations: {ingot.dev/bmc-quirks: "vmedia-pach", ingot.dev/bmc-tls: old, ingot.dev/bmc-pin: "sha256:12"}}, spec: {bmc: {address: "redfish://10.0.0.3"}}}`,
			want: []string{"metadata.annotations[ingot.dev/bmc-quirks]", "vmedia-patch", "metadata.annotations[ingot.dev/bmc-tls]", "legacy", "metadata.annotations[ingot.dev/bmc-pin]", "first-use"},
		},
		{name: "a pin over IPMI", change: `{metadata: {annotations: {ingot.dev/bmc-pin: first-use}}, spec: {bmc: {address: "ipmi://10.0.0.3"}}}`, want: []string{"ingot.dev/bmc-pin", "not spoken to over TLS"}},
		{name: "other annotations of ours", change: `metadata: {annotations: {ingot.dev/bmc-other: x}}`},

		{name: "all at once", change: `{metadata: {annotations: {reboot.metal3.io: now}}, spec: {online: false, disablePowerOff: true, bootMACAddress: x}}`, want: []string{"spec.online", "spec.bootMACAddress", "reboot.metal3.io"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := admission.Create(decode(t, tc.change)).ToAggregate()
			if err == nil {
				check(t, nil, tc.want)
				return
			}
			check(t, err, tc.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the answer shows a password")
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	for _, tc := range []struct {
		name     string
		old, new string
		want     []string
	}{
		{name: "nothing", old: `{}`, new: `{}`},
		{name: "address while registering", old: `{}`, new: `{spec: {bmc: {address: "ipmi://10.0.0.4"}}, status: {provisioning: {state: registering}}}`},
		{name: "address before anything", old: `{}`, new: `spec: {bmc: {address: "ipmi://10.0.0.4"}}`},
		{name: "address while detached", old: `{}`, new: `{spec: {bmc: {address: "ipmi://10.0.0.4"}}, status: {operationalStatus: detached, provisioning: {state: provisioned}}}`},
		{name: "address while available", old: `{}`, new: `{spec: {bmc: {address: "ipmi://10.0.0.4"}}, status: {provisioning: {state: available}}}`, want: []string{"spec.bmc.address", "registering or detached"}},
		{name: "first address", old: `spec: {bmc: {address: ""}}`, new: `status: {provisioning: {state: unmanaged}}`},
		{name: "first MAC", old: `spec: {bootMACAddress: ""}`, new: `{}`},
		{name: "MAC in other letters", old: `spec: {bootMACAddress: "52:54:00:AB:cd:ef"}`, new: `spec: {bootMACAddress: "52:54:00:ab:CD:ef"}`},
		{name: "other MAC", old: `{}`, new: `spec: {bootMACAddress: "52:54:00:12:34:57"}`, want: []string{"spec.bootMACAddress", "from 52:54:00:12:34:56"}},
		{name: "MAC taken away", old: `{}`, new: `spec: {bootMACAddress: ""}`, want: []string{"spec.bootMACAddress"}},
		{name: "externally provisioned while available", old: `{}`, new: `{spec: {externallyProvisioned: true}, status: {provisioning: {state: available}}}`},
		{name: "externally provisioned while provisioned", old: `{}`, new: `{spec: {externallyProvisioned: true}, status: {provisioning: {state: provisioned}}}`, want: []string{"spec.externallyProvisioned", "it is provisioned"}},
		{name: "no longer externally provisioned", old: `spec: {externallyProvisioned: true}`, new: `{spec: {externallyProvisioned: false}, status: {provisioning: {state: externally provisioned}}}`},

		{name: "rules of creation hold", old: `{}`, new: `spec: {image: {url: "https://x/y.raw"}}`, want: []string{"spec.image.checksum"}},
		{name: "an old fault may stay", old: `spec: {firmware: {sriovEnabled: true}}`, new: `{metadata: {labels: {a: b}}, spec: {firmware: {sriovEnabled: true}}}`},
		{name: "an old fault excuses no new one", old: `spec: {firmware: {sriovEnabled: true}}`, new: `spec: {online: false, disablePowerOff: true, firmware: {sriovEnabled: true}}`, want: []string{"spec.online"}},
		{name: "deleting", old: `{}`, new: `{metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}, spec: {firmware: {sriovEnabled: true}}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			errs := admission.Update(decode(t, tc.new), decode(t, tc.old))
			if len(errs) == 0 {
				check(t, nil, tc.want)
				return
			}
			check(t, errs.ToAggregate(), tc.want)
		})
	}
}
