package sushytools

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// chassisUUID is the one chassis of the emulator's defaults (chassis,
// StaticDriver).
const chassisUUID = "15693887-7984-9484-3272-842188918912"

// managers are sorted by UUID: each machine has one of its own, by the machine's
// UUID (managers).
func (s *Server) managers() []string {
	var ids []string
	for _, sys := range s.systems {
		ids = append(ids, sys.info.UUID)
	}
	slices.Sort(ids)
	return ids
}

// managerList is main, manager_collection_resource; template
// manager_collection@f1ae2365.
func (s *Server) managerList(*request) (*reply, error) {
	if err := s.feature("Managers", Full, VMedia); err != nil {
		return nil, err
	}
	var members []obj
	for _, id := range s.managers() {
		members = append(members, link("/redfish/v1/Managers", id))
	}
	o := collection("ManagerCollection", "Manager Collection", "/redfish/v1/Managers", members)
	o["Oem"], o["@Redfish.Copyright"] = obj{}, copyright17
	return &reply{body: o}, nil
}

// withManager is managers, get_manager: the words for one that is not there hide
// that it is a machine.
func (s *Server) withManager(r *request, f func(*system) (*reply, error)) (*reply, error) {
	if err := s.feature("Managers", Full, VMedia); err != nil {
		return nil, err
	}
	return s.withAnyManager(r, f)
}

func (s *Server) withAnyManager(r *request, f func(*system) (*reply, error)) (*reply, error) {
	sys, err := s.find(r.vars["identity"])
	if err != nil {
		var e *fishy
		if errors.As(err, &e) && e.alias == "" {
			err = notFound("Manager with UUID %s was not found", r.vars["identity"])
		}
		return nil, err
	}
	return f(sys)
}

// manager is main, manager_resource. Its virtual media are the system's, unless
// the release is an old one.
func (s *Server) manager(r *request) (*reply, error) {
	return s.withManager(r, func(sys *system) (*reply, error) {
		id := sys.info.UUID
		chassis := []obj{}
		if s.o.FeatureSet == Full && id == s.managers()[0] {
			chassis = append(chassis, link("/redfish/v1/Chassis", chassisUUID))
		}
		o := obj{
			"@odata.type": "#Manager.v1_3_1.Manager", "@odata.context": "/redfish/v1/$metadata#Manager.Manager",
			"@odata.id": path("/redfish/v1/Managers", id), "@Redfish.Copyright": copyright17,
			"Id": id, "Name": sys.info.Name + "-Manager", "UUID": id, "ManagerType": "BMC",
			"VirtualMedia": link(s.mediaBase(id)),
			"Links":        obj{"ManagerForServers": []obj{link("/redfish/v1/Systems", id)}, "ManagerForChassis": chassis},
		}
		if s.o.FeatureSet == Full {
			date, offset := s.o.Now().Format("2006-01-02T15:04:05")+"+00:00", "+00:00"
			if s.dateTime[0] != "" && s.dateTime[1] != "" {
				date, offset = s.dateTime[0], s.dateTime[1]
			}
			maps.Copy(o, obj{
				"ServiceEntryPointUUID": nil, "Description": "Contoso BMC", "Model": "Joo Janta 200", "DateTime": date,
				"DateTimeLocalOffset": offset, "Status": obj{"State": "Enabled", "Health": "OK"}, "PowerState": "On", "FirmwareVersion": "1.00",
			})
		}
		return &reply{body: o}, nil
	})
}

// managerPatch is main, manager_resource over managers, set_datetime: one time
// for all managers, shown only with an offset. Below the feature set full it is
// refused with an error whose code was not read.
func (s *Server) managerPatch(r *request) (*reply, error) {
	return s.withManager(r, func(*system) (*reply, error) {
		if s.o.FeatureSet != Full {
			return notReproduced(r)
		}
		in, err := r.json()
		if err != nil {
			return nil, badRequest("Request must be a valid JSON")
		}
		s.dateTime = [2]string{asWord(in["DateTime"]), asWord(in["DateTimeLocalOffset"])}
		return done(), nil
	})
}

// setLED is indicators, set_indicator_state.
func setLED(led *string, v any, id string) error {
	switch v {
	case "Lit", "Off", "Blinking":
		*led = v.(string)
		return nil
	}
	return fail("Unknown indicator state %s, ID %s", asText(v), id)
}

// chassisList is main, chassis_collection_resource; template
// chassis_collection@248e3d13.
func (s *Server) chassisList(*request) (*reply, error) {
	if err := s.feature("Chassis", Full); err != nil {
		return nil, err
	}
	o := collection("ChassisCollection", "Chassis Collection", "/redfish/v1/Chassis", []obj{link("/redfish/v1/Chassis", chassisUUID)})
	o["@Redfish.Copyright"] = copyright17
	return &reply{body: o}, nil
}

// knownChassis is chassis, _get_chassis: its Id and Name are aliases.
func (s *Server) knownChassis(r *request) error {
	if err := s.feature("Chassis", Full); err != nil {
		return err
	}
	switch id := r.vars["identity"]; id {
	case chassisUUID:
		return nil
	case "Chassis", "SheetMetalChassis":
		return &fishy{code: 500, msg: chassisUUID, alias: chassisUUID}
	default:
		return fail(`Error finding chassis by UUID/Name/Id "%s"`, id)
	}
}

// chassis is main, chassis_resource; template chassis@f1883116.
func (s *Server) chassis(r *request) (*reply, error) {
	if err := s.knownChassis(r); err != nil {
		return nil, err
	}
	systems, managers := []obj{}, []obj{}
	var storage, drives []obj
	for _, sys := range s.systems {
		systems = append(systems, link("/redfish/v1/Systems", sys.info.UUID))
		for _, st := range sys.storage {
			storage = append(storage, link("/redfish/v1/Systems", sys.info.UUID, "Storage", st.ID))
			for _, d := range st.Drives {
				drives = append(drives, link("/redfish/v1/Systems", sys.info.UUID, "Storage", st.ID, "Drives", d.ID))
			}
		}
	}
	for _, id := range s.managers() {
		managers = append(managers, link("/redfish/v1/Managers", id))
	}
	links := obj{"ComputerSystems": systems, "ManagedBy": managers[:min(1, len(managers))], "ManagersInChassis": managers}
	if storage != nil {
		links["Storage"] = storage
	}
	if drives != nil {
		links["Drives"] = drives
	}
	return &reply{body: obj{
		"@odata.type": "#Chassis.v1_5_0.Chassis", "@odata.context": "/redfish/v1/$metadata#Chassis.Chassis",
		"@odata.id": path("/redfish/v1/Chassis", chassisUUID), "@Redfish.Copyright": copyright17,
		"Id": chassisUUID, "Name": "Chassis", "UUID": chassisUUID, "AssetTag": "Chicago-45Z-2381", "ChassisType": "Enclosure",
		"Manufacturer": "Contoso", "Model": "3500RX", "SKU": "8675309", "SerialNumber": "437XR1138R2", "PartNumber": "224071-J23",
		"PowerState": "On", "IndicatorLED": s.chassisLED, "HeightMm": 44.45, "WidthMm": 431.8, "DepthMm": 711, "WeightKg": 15.31,
		"Location": obj{
			"PostalAddress": obj{
				"Country": "US", "Territory": "OR", "City": "Portland", "Street": "1001 SW 5th Avenue", "HouseNumber": 1100,
				"Name": "Distributed Management Task Force, Inc.", "PostalCode": "97204",
			},
			"Placement": obj{"Row": "North", "Rack": "WEB43", "RackOffsetUnits": "EIA_310", "RackOffset": 12},
		},
		"Status": obj{"State": "Enabled", "Health": "OK"}, "Links": links,
	}}, nil
}

// chassisPatch is main, chassis_resource.
func (s *Server) chassisPatch(r *request) (*reply, error) {
	if err := s.knownChassis(r); err != nil {
		return nil, err
	}
	in, err := r.json()
	if err != nil {
		return nil, err
	}
	if !truth(in["IndicatorLED"]) {
		return text("PATCH only works for IndicatorLED element"), nil
	}
	if err := setLED(&s.chassisLED, in["IndicatorLED"], chassisUUID); err != nil {
		return nil, err
	}
	return done(), nil
}

// thermal is main, thermal_resource; template thermal@578f058f: constants, one
// CPU's temperature for each machine.
func (s *Server) thermal(r *request) (*reply, error) {
	if err := s.knownChassis(r); err != nil {
		return nil, err
	}
	uri := path("/redfish/v1/Chassis", chassisUUID)
	status := func() obj { return obj{"State": "Enabled", "Health": "OK"} }
	all := []obj{link("/redfish/v1/Chassis", chassisUUID)}
	temperatures := []obj{}
	for i, sys := range s.systems {
		all = append(all, link("/redfish/v1/Systems", sys.info.UUID))
		temperatures = append(temperatures, obj{
			"@odata.id": fmt.Sprintf("%s/Thermal#/Temperatures/%d", uri, i), "MemberId": fmt.Sprint(i), "Name": "CPU Temp",
			"SensorNumber": fmt.Sprint(i), "Status": status(), "ReadingCelsius": 41, "UpperThresholdNonCritical": 42,
			"UpperThresholdCritical": 45, "UpperThresholdFatal": 48, "MinReadingRangeTemp": 0, "MaxReadingRangeTemp": 60,
			"PhysicalContext": "CPU", "RelatedItem": []obj{link("/redfish/v1/Systems", sys.info.UUID, "Processors", "CPU")},
		})
	}
	n := len(s.systems)
	temperatures = append(temperatures, obj{
		"@odata.id": fmt.Sprintf("%s/Thermal#/Temperatures/%d", uri, n), "MemberId": fmt.Sprint(n), "Name": "Chassis Intake Temp",
		"SensorNumber": fmt.Sprint(n), "Status": status(), "ReadingCelsius": 25, "UpperThresholdNonCritical": 30,
		"UpperThresholdCritical": 40, "UpperThresholdFatal": 50, "LowerThresholdNonCritical": 10, "LowerThresholdCritical": 5,
		"LowerThresholdFatal": 0, "MinReadingRangeTemp": 0, "MaxReadingRangeTemp": 60, "PhysicalContext": "Intake", "RelatedItem": all,
	})
	fan := func(i int, name string, reading int) obj {
		return obj{
			"@odata.id": fmt.Sprintf("%s/Thermal#/Fans/%d", uri, i), "MemberId": fmt.Sprint(i), "Name": name, "PhysicalContext": "Backplane",
			"Status": status(), "Reading": reading, "ReadingUnits": "RPM", "LowerThresholdFatal": 0, "MinReadingRange": 0,
			"MaxReadingRange": 5000, "Redundancy": []obj{link(uri + "/Thermal#/Redundancy/0")}, "RelatedItem": all,
		}
	}
	return &reply{body: obj{
		"@odata.type": "#Thermal.v1_3_0.Thermal", "@odata.context": "/redfish/v1/$metadata#Thermal.Thermal", "@odata.id": uri + "/Thermal",
		"@Redfish.Copyright": copyright17, "Id": "Thermal", "Name": "Thermal", "Temperatures": temperatures,
		"Fans": []obj{fan(0, "BaseBoard System Fan", 2100), fan(1, "BaseBoard System Fan Backup", 2050)},
	}}, nil
}
