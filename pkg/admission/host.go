package admission

import (
	"encoding/json"
	"fmt"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// Host is a BareMetalHost with those fields of newer Metal3 releases that have
// rules.
type Host struct {
	metal3api.BareMetalHost
	// RootVolumes tells for each of spec.raid.softwareRAIDVolumes whether it
	// holds the operating system (v0.14).
	RootVolumes []bool
	// Interfaces are spec.networkInterfaces (v0.14).
	Interfaces []Interface
}

// Interface is one of spec.networkInterfaces.
type Interface struct {
	Name                  string      `json:"name"`
	MACAddress            string      `json:"macAddress"`
	HostNetworkAttachment *attachment `json:"hostNetworkAttachment"`
}

type attachment struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

const (
	// inspectionModeFast came with Metal3 v0.14.
	inspectionModeFast = "fast"
	// inspectDisabled is the one value that the annotation inspect.metal3.io may
	// have; deprecated upstream, but in use.
	inspectDisabled = "disabled"
)

// Decode reads a host as an API server sends it.
func Decode(raw []byte) (*Host, error) {
	h := &Host{}
	if err := json.Unmarshal(raw, &h.BareMetalHost); err != nil {
		return nil, fmt.Errorf("decode BareMetalHost: %w", err)
	}
	var newer struct {
		Spec struct {
			RAID struct {
				SoftwareRAIDVolumes []struct {
					RootVolume bool `json:"rootVolume"`
				} `json:"softwareRAIDVolumes"`
			} `json:"raid"`
			NetworkInterfaces []Interface `json:"networkInterfaces"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &newer); err != nil {
		return nil, fmt.Errorf("decode BareMetalHost: %w", err)
	}
	for _, v := range newer.Spec.RAID.SoftwareRAIDVolumes {
		h.RootVolumes = append(h.RootVolumes, v.RootVolume)
	}
	h.Interfaces = newer.Spec.NetworkInterfaces
	return h, nil
}
