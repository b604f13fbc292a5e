package sushytools

import (
	"net/http"
	"strconv"
	"strings"
)

// updateService is update, update_service_resource; template
// update_service@57e560f7. The inventories it names have no view.
func (s *Server) updateService(*request) (*reply, error) {
	return &reply{body: obj{
		"@odata.type": "#UpdateService.v1_11_0.UpdateService", "@odata.context": "/redfish/v1/$metadata#UpdateService.UpdateService",
		"@odata.id": "/redfish/v1/UpdateService", "Id": "UpdateService", "Name": "Update Service",
		"Description": "Represents the properties for the Update Service", "ServiceEnabled": true, "MaxImageSizeBytes": nil,
		"Actions": obj{"#UpdateService.SimpleUpdate": obj{
			"target": "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate",
			"TransferProtocol@Redfish.AllowableValues": []string{"HTTP", "HTTPS"},
		}},
		"FirmwareInventory": link("/redfish/v1/UpdateService/FirmwareInventory"),
		"HttpPushUri":       "/redfish/v1/UpdateService/FirmwareInventory",
		"SoftwareInventory": link("/redfish/v1/UpdateService/SoftwareInventory"),
	}}, nil
}

// simpleUpdate is update, update_service_simple_update: a target is a system, the
// image is not fetched, and the second number of the BIOS version goes up by one
// at once. 204 with the task's Location; a target by name cannot be redirected,
// and fails.
func (s *Server) simpleUpdate(r *request) (*reply, error) {
	in, err := r.json()
	if err != nil {
		return nil, err
	}
	if !truth(in["ImageURI"]) || !truth(in["Targets"]) {
		return s.render(badRequest("Missing ImageURI and/or Targets.")), nil
	}
	targets, ok := in["Targets"].([]any)
	if !ok {
		return notReproduced(r) // Python walks a string's letters
	}
	for _, v := range targets {
		target := asText(v)
		if strings.Contains(target, "Manager") {
			return s.render(badRequest("Manager is not currently a supported Target.")), nil
		}
		sys, err := s.find(target[lastSlash(target)+1:])
		if err != nil {
			return nil, err
		}
		parts := strings.Split(sys.firmware, ".")
		n, err := strconv.Atoi(parts[1])
		if err != nil {
			return nil, fail("%s", err)
		}
		parts[1] = strconv.Itoa(n + 1)
		sys.firmware = strings.Join(parts, ".")
	}
	return &reply{status: http.StatusNoContent, header: map[string]string{"Location": "/redfish/v1/TaskService/Tasks/42"}}, nil
}

// taskService is main, simple_task_service; template task_service@57e560f7. Its
// collection has no view.
func (s *Server) taskService(*request) (*reply, error) {
	return &reply{body: obj{
		"@odata.type": "#TaskService.v1_1_2.TaskService", "@odata.context": "/redfish/v1/$metadata#TaskService.TaskService",
		"@odata.id": "/redfish/v1/TaskService", "Id": "TaskService", "Name": "Tasks Service", "DateTime": "2015-03-13T04:14:33+06:00",
		"CompletedTaskOverWritePolicy": "Manual", "LifeCycleEventOnTaskStateChange": true,
		"Status": obj{"State": "Enabled", "Health": "OK"}, "ServiceEnabled": true, "Tasks": link("/redfish/v1/TaskService/Tasks"), "Oem": obj{},
	}}, nil
}

// task is main, simple_task; template task@e402462e: the one task there is. Its
// monitor has no view.
func (s *Server) task(*request) (*reply, error) {
	return &reply{body: obj{
		"@odata.type": "#Task.v1_4_3.Task", "@odata.id": "/redfish/v1/TaskService/Tasks/42", "Id": "42", "Name": "Task 42",
		"Description": "Task description", "TaskMonitor": "/taskmon/42", "TaskState": "Completed", "TaskStatus": "OK", "PercentComplete": 100,
	}}, nil
}

// registries is main, registry_file_collection; template
// registry_file_collection@fa3627ea.
func (s *Server) registries(*request) (*reply, error) {
	if err := s.feature("Registries", Full); err != nil {
		return nil, err
	}
	o := collection("MessageRegistryFileCollection", "Registry File Collection", "/redfish/v1/Registries", []obj{
		link("/redfish/v1/Registries/Messages"), link("/redfish/v1/Registries/BiosAttributeRegistry.v1_0_0"),
	})
	o["Description"] = "Registry Repository"
	return &reply{body: o}, nil
}

// biosRegistryFile is main, bios_attribute_registry_file; template
// bios_attribute_registry_file@fa3627ea.
func (s *Server) biosRegistryFile(*request) (*reply, error) {
	if err := s.feature("Registries", Full); err != nil {
		return nil, err
	}
	return &reply{body: registryFile("BiosAttributeRegistry.v1_0_0", "v1_1_0", "BIOS Attribute Registry File", "en", "/redfish/v1/Systems/Bios/BiosRegistry", "BiosAttributeRegistry1.0")}, nil
}

// messageRegistryFile is main, message_registry_file; template
// message_registry_file@de31f7b5.
func (s *Server) messageRegistryFile(*request) (*reply, error) {
	if err := s.feature("Registries", Full); err != nil {
		return nil, err
	}
	o := registryFile("Messages", "v1_1_1", "Message Registry File", "En", "/redfish/v1/Registries/Messages/Registry", "Base.1.0")
	o["Languages@odata.count"], o["Location@odata.count"] = 1, 1
	return &reply{body: o}, nil
}

func registryFile(id, version, name, language, uri, registry string) obj {
	return obj{
		"@odata.type":    "#MessageRegistryFile." + version + ".MessageRegistryFile",
		"@odata.context": "/redfish/v1/$metadata#MessageRegistryFile.MessageRegistryFile", "@odata.id": "/redfish/v1/Registries/" + id,
		"Description": name + " locations", "Id": id, "Name": name, "Languages": []string{language},
		"Location": []obj{{"Language": language, "Uri": uri}}, "Registry": registry,
	}
}

// biosRegistry is main, bios_registry; template bios_registry@00fcd2f4, without
// its texts for people.
func (s *Server) biosRegistry(*request) (*reply, error) {
	if err := s.feature("Registries", Full); err != nil {
		return nil, err
	}
	enumeration := func(name, display string, more obj, values ...string) obj {
		list := make([]obj, len(values))
		for i, v := range values {
			list[i] = obj{"ValueName": v, "ValueDisplayName": v}
		}
		o := obj{"AttributeName": name, "DisplayName": display, "Type": "Enumeration", "CurrentValue": nil, "ReadOnly": false, "Value": list}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	plain := obj{"Hidden": false, "Immutable": false, "WarningText": nil, "WriteOnly": false}
	return &reply{body: obj{
		"@odata.context": "/redfish/v1/$metadata#AttributeRegistry.AttributeRegistry", "@odata.id": "/redfish/v1/Systems/Bios/BiosRegistry",
		"@odata.type": "#AttributeRegistry.v1_1_1.AttributeRegistry", "Id": "BiosAttributeRegistryP89.v1_0_0", "Language": "en",
		"Description": "This registry defines a representation of BIOS Attribute instances", "Name": "BIOS Attribute Registry",
		"OwningEntity": "VendorA", "RegistryVersion": "1.1.1",
		"RegistryEntries": obj{"Attributes": []obj{
			enumeration("ProcTurboMode", "Turbo Boost", plain, "Enabled", "Disabled"),
			enumeration("BootMode", "Boot Mode", plain, "Bios", "Uefi"),
			enumeration("EmbeddedSata", "Embedded SATA", plain, "Ata", "Ahci", "Raid", "Off"),
			enumeration("NicBoot1", "Embedded NIC 1 Boot", nil, "NetworkBoot", "Disabled"),
			enumeration("SecureBootStatus", "Secure Boot Status", obj{"ReadOnly": true, "Immutable": true}, "Enabled", "Disabled"),
			{
				"AttributeName": "SerialNumber", "DisplayName": "Serial Number", "Type": "String", "CurrentValue": nil, "ReadOnly": false,
				"MaxLength": 16, "MinLength": 0, "IsSystemUniqueProperty": true,
			},
		}},
	}}, nil
}
