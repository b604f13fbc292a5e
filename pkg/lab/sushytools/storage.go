package sushytools

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
)

// Storage is an entry of SUSHY_EMULATOR_STORAGE with its drives and volumes.
type Storage struct {
	ID, Name    string
	Controllers []Controller
	Drives      []Drive
	// Volumes is nil where SUSHY_EMULATOR_VOLUMES says nothing of this storage:
	// the emulator fails then.
	Volumes []Volume
}

// Controller of a Storage.
type Controller struct {
	MemberID, Name string
	SpeedGbps      int
}

// Drive is an entry of SUSHY_EMULATOR_DRIVES.
type Drive struct {
	ID, Name, Protocol string
	CapacityBytes      int64
}

// Volume is an entry of SUSHY_EMULATOR_VOLUMES, or made by a client.
type Volume struct {
	ID, Name, VolumeType string
	CapacityBytes        int64
}

// simpleStorage is main, simple_storage_collection; template
// simple_storage_collection@3d65187c: libvirt knows no volume of a body's.
func (s *Server) simpleStorage(r *request) (*reply, error) {
	return s.full(r, "SimpleStorage", func(*system) (*reply, error) {
		uri := path("/redfish/v1/Systems", r.vars["identity"], "SimpleStorage")
		o := collection("SimpleStorageCollection", "Simple Storage Collection", uri, nil)
		o["Oem"] = obj{}
		return &reply{body: o}, nil
	})
}

// storages is storage.py, get_storage_col.
func (sys *system) storages() ([]Storage, error) {
	if len(sys.storage) == 0 {
		return nil, fail(`Error finding storage collection by UUID "%s"`, sys.info.UUID)
	}
	return sys.storage, nil
}

// storageList is main, storage_collection; template storage_collection@5491098f.
func (s *Server) storageList(r *request) (*reply, error) {
	return s.full(r, "Storage", func(sys *system) (*reply, error) {
		all, err := sys.storages()
		if err != nil {
			return nil, err
		}
		uri := path("/redfish/v1/Systems", r.vars["identity"], "Storage")
		var members []obj
		for _, st := range all {
			members = append(members, link(uri, st.ID))
		}
		o := collection("StorageCollection", "Storage Collection", uri, members)
		o["Oem"] = obj{}
		return &reply{body: o}, nil
	})
}

// withStorage gives a view its storage.
func (s *Server) withStorage(r *request, f func(*system, *Storage, string) (*reply, error)) (*reply, error) {
	return s.full(r, "Storage", func(sys *system) (*reply, error) {
		all, err := sys.storages()
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(st Storage) bool { return st.ID == r.vars["storage"] })
		if i < 0 {
			return nil, notFound("Not found")
		}
		return f(sys, &all[i], path("/redfish/v1/Systems", r.vars["identity"], "Storage", all[i].ID))
	})
}

// storage is main, storage; template storage@262ba32a, whose type has two hashes.
func (s *Server) storage(r *request) (*reply, error) {
	return s.withStorage(r, func(_ *system, st *Storage, uri string) (*reply, error) {
		o := obj{
			"@odata.type": "##Storage.v1_4_0.Storage", "@odata.context": "/redfish/v1/$metadata#Storage.Storage", "@odata.id": uri,
			"Id": st.ID, "Name": st.Name, "Volumes": link(uri + "/Volumes"),
			"Status": obj{"@odata.type": "#Resource.Status", "State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
		}
		var controllers, drives []obj
		for _, c := range st.Controllers {
			controllers = append(controllers, obj{
				"@odata.id": uri + "#/StorageControllers/" + c.MemberID, "@odata.type": "#Storage.v1_3_0.StorageController",
				"MemberId": c.MemberID, "Name": c.Name, "Status": obj{"@odata.type": "#Resource.Status", "State": "Enabled", "Health": "OK"},
				"Manufacturer": "Contoso", "Model": "12Gbs Integrated RAID", "SerialNumber": "2M220100SL", "PartNumber": "CT18754",
				"SpeedGbps": c.SpeedGbps, "FirmwareVersion": "1.0.0.7",
				"SupportedControllerProtocols": []string{"PCIe"}, "SupportedDeviceProtocols": []string{"SAS", "SATA"},
			})
		}
		for _, d := range st.Drives {
			drives = append(drives, link(uri, "Drives", d.ID))
		}
		if controllers != nil {
			o["StorageControllers"] = controllers
		}
		if drives != nil {
			o["Drives"] = drives
		}
		return &reply{body: o}, nil
	})
}

// drive is main, drive_resource; template drive@f1883116.
func (s *Server) drive(r *request) (*reply, error) {
	return s.withStorage(r, func(_ *system, st *Storage, uri string) (*reply, error) {
		i := slices.IndexFunc(st.Drives, func(d Drive) bool { return d.ID == r.vars["drive"] })
		if i < 0 {
			return nil, notFound("Not found")
		}
		d := st.Drives[i]
		return &reply{body: obj{
			"@odata.type": "#Drive.v1_4_0.Drive", "@odata.context": "/redfish/v1/$metadata#Drive.Drive",
			"@odata.id": path(uri, "Drives", d.ID), "@Redfish.Copyright": copyright17,
			"Id": d.ID, "Name": d.Name, "IndicatorLED": "Lit", "Model": "C123", "Revision": "100A",
			"Status":        obj{"@odata.type": "#Resource.Status", "State": "Enabled", "Health": "OK"},
			"CapacityBytes": d.CapacityBytes, "FailurePredicted": false, "Protocol": d.Protocol, "MediaType": "HDD",
			"Manufacturer": "Contoso", "SerialNumber": "1234570", "PartNumber": "C123-1111", "HotspareType": "Global",
			"EncryptionAbility": "SelfEncryptingDrive", "EncryptionStatus": "Unlocked", "RotationSpeedRPM": 15000,
			"BlockSizeBytes": 512, "CapableSpeedGbs": 12, "NegotiatedSpeedGbs": 12,
		}}, nil
	})
}

// volumeList is main, volumes_collection; template volume_collection@21696228.
// A storage whose volumes nobody configured fails (volumes, get_volumes_col
// returns None).
func (s *Server) volumeList(r *request) (*reply, error) {
	return s.withStorage(r, func(_ *system, st *Storage, uri string) (*reply, error) {
		if st.Volumes == nil {
			return nil, fail("'NoneType' object is not iterable")
		}
		var members []obj
		for _, v := range st.Volumes {
			members = append(members, link(uri, "Volumes", v.ID))
		}
		o := collection("VolumeCollection", "Storage Volume Collection", uri+"/Volumes", members)
		o["@Redfish.Copyright"] = copyright17
		return &reply{body: o}, nil
	})
}

// volumeCreate is main, volumes_collection: 201 with a Location and no body; of
// the request only Name, VolumeType and CapacityBytes count, so that a RAIDType
// is dropped. The id is the process's with the time of day, and two volumes of
// one second are one (systems, find_or_create_storage_volume).
func (s *Server) volumeCreate(r *request) (*reply, error) {
	return s.withStorage(r, func(sys *system, st *Storage, uri string) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		size, ok := in["CapacityBytes"].(float64)
		if !ok {
			return nil, fail("%%i format: a real number is required, not %s", pythonType(in["CapacityBytes"]))
		}
		if st.Volumes == nil {
			return nil, fail("('%s', '%s')", sys.info.UUID, st.ID)
		}
		id := strconv.Itoa(os.Getpid()) + s.o.Now().Format("150405")
		st.Volumes = append(st.Volumes, Volume{ID: id, Name: asText(in["Name"]), VolumeType: asText(in["VolumeType"]), CapacityBytes: int64(size)})
		return &reply{status: http.StatusCreated, header: map[string]string{"Location": fmt.Sprintf("%s/Volumes/%s", uri, id)}}, nil
	})
}

// volume is main, volume; template volume@21696228. There is no way to delete one.
func (s *Server) volume(r *request) (*reply, error) {
	return s.withStorage(r, func(_ *system, st *Storage, uri string) (*reply, error) {
		i := slices.IndexFunc(st.Volumes, func(v Volume) bool { return v.ID == r.vars["volume"] })
		if i < 0 {
			return nil, notFound("Not found")
		}
		v := st.Volumes[i]
		return &reply{body: obj{
			"@odata.type": "#Volume.v1_0_3.Volume", "@odata.context": "/redfish/v1/$metadata#Volume.Volume",
			"@odata.id": path(uri, "Volumes", v.ID), "@Redfish.Copyright": copyright17,
			"Id": v.ID, "Name": v.Name, "Status": obj{"@odata.type": "#Resource.Status", "State": "Enabled", "Health": "OK"},
			"Encrypted": false, "VolumeType": v.VolumeType, "CapacityBytes": v.CapacityBytes,
		}}, nil
	})
}
