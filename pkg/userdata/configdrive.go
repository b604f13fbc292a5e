package userdata

import (
	"encoding/json"
	"maps"

	"github.com/ingot-metal/ingot/api/agent"
)

// Label is the file system label by which cloud-init and Ignition find the
// config drive.
const Label = "config-2"

// Input is what goes into a config drive.
type Input struct {
	UUID      string // the BareMetalHost's UID: CAPM3 finds its Node by it
	Namespace string
	Name      string

	MetaData    []byte // YAML or JSON mapping, laid over the defaults; may be empty
	NetworkData []byte // YAML or JSON, OpenStack's network_data.json; may be empty
	UserData    []byte // verbatim; may be empty

	// Report, if set, tells the installed system where to say that it is up.
	Report *Report

	// SectorSize is the disk's logical sector size. Above 2,048 the drive is a
	// FAT file system, since Linux cannot mount ISO 9660 there; 0 means 512.
	SectorSize int
}

// Report is the key "ingot" of meta_data.json: an installed system that knows it
// posts {host, token, hostname, sshKeys} as JSON to URL, once.
type Report struct {
	URL   string `json:"url"`
	Token string `json:"token"` // good for one report of this installation
	Host  string `json:"host"`  // namespace/name
	CA    string `json:"ca"`    // PEM, to know the URL's server by
}

// ConfigDrive returns the image of a config drive. Its errors are *Error.
func ConfigDrive(in Input) ([]byte, error) {
	files, err := contents(in)
	if err != nil {
		return nil, err
	}
	write := writeISO
	if in.SectorSize > sector {
		write = writeFAT
	}
	image := write(Label, layout(files))
	if len(image) > agent.MaxConfDrive {
		return nil, invalid(biggest(in), 0, "the config drive would have %d bytes, at most %d are allowed", len(image), agent.MaxConfDrive)
	}
	return image, nil
}

// Files returns what a config drive would hold, by name: meta_data.json, and
// network_data.json and user_data if they are given. Its errors are *Error.
func Files(in Input) (map[string][]byte, error) {
	files, err := contents(in)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, f := range files {
		out[f.name] = f.data
	}
	return out, nil
}

func contents(in Input) ([]file, error) {
	// Judged first: parsing many megabytes of YAML to refuse them is wasteful.
	if n := len(in.MetaData) + len(in.NetworkData) + len(in.UserData); n > agent.MaxConfDrive-overhead {
		return nil, invalid(biggest(in), 0, "the config drive would have %d bytes, at most %d are allowed", n, agent.MaxConfDrive-overhead)
	}
	meta, err := metaData(in)
	if err != nil {
		return nil, err
	}
	files := []file{{name: "meta_data.json", data: meta}}
	network, err := networkData(in.NetworkData)
	if err != nil {
		return nil, err
	}
	if network != nil {
		files = append(files, file{name: "network_data.json", data: network})
	}
	if err := CheckUserData(in.UserData); err != nil {
		return nil, err
	}
	if len(in.UserData) > 0 {
		files = append(files, file{name: "user_data", data: in.UserData})
	}
	return files, nil
}

// overhead is more than the image's own structures take.
const overhead = 80 << 10

// layout is the tree of a config drive. cloud-init reads the newest dated
// directory that it knows before it turns to latest, so the dated one holds
// every file too (the two share their bytes).
func layout(files []file) *directory {
	return &directory{subdirs: []*directory{{
		name: "openstack",
		subdirs: []*directory{
			{name: "2012-08-10", files: files},
			{name: "latest", files: files},
		},
	}}}
}

// metaData lays the user's keys over the defaults that Metal3 promises.
func metaData(in Input) ([]byte, error) {
	meta := map[string]any{
		"uuid":             in.UUID,
		"metal3-namespace": in.Namespace,
		"metal3-name":      in.Name,
		"local-hostname":   in.Name,
		"local_hostname":   in.Name,
		"name":             in.Name,
	}
	user, err := mapping(KeyMetaData, in.MetaData)
	if err != nil {
		return nil, err
	}
	maps.Copy(meta, user)
	if in.Report != nil {
		meta["ingot"] = in.Report
	}
	return marshal(KeyMetaData, meta)
}

// networkData renders network data as JSON; nil where there is none, which
// tells cloud-init to use DHCP on its own.
func networkData(b []byte) ([]byte, error) {
	network, err := mapping(KeyNetworkData, b)
	if err != nil || len(network) == 0 {
		return nil, err
	}
	for _, key := range []string{"links", "networks", "services"} {
		if v, ok := network[key]; ok && v != nil {
			if _, ok := v.([]any); !ok {
				return nil, invalid(KeyNetworkData, lineOf(b, key), "%s is no list", key)
			}
		}
	}
	return marshal(KeyNetworkData, network)
}

func marshal(key string, v map[string]any) ([]byte, error) {
	b, err := json.Marshal(v) // sorts keys: same input, same bytes
	if err != nil {
		return nil, invalid(key, 0, "cannot be written as JSON: %v", err)
	}
	return b, nil
}

func biggest(in Input) string {
	switch n := len(in.UserData); {
	case n >= len(in.MetaData) && n >= len(in.NetworkData):
		return KeyUserData
	case len(in.MetaData) >= len(in.NetworkData):
		return KeyMetaData
	default:
		return KeyNetworkData
	}
}
