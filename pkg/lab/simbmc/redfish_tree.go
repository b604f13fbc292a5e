package simbmc

import (
	"context"
	"strings"
)

// The tree: one system, one chassis, one manager.
const (
	rootPath     = "/redfish/v1"
	systemsPath  = rootPath + "/Systems"
	chassisPath  = rootPath + "/Chassis/1"
	managerPath  = rootPath + "/Managers/BMC"
	mediaPath    = managerPath + "/VirtualMedia/Cd"
	accountsPath = rootPath + "/AccountService/Accounts"
	rolePath     = rootPath + "/AccountService/Roles/Administrator"
)

// SystemPath returns the URI of the ComputerSystem, which is also the path of
// the host's BMC address.
func (b *BMC) SystemPath() string { return systemsPath + "/" + b.info.Name }

// resource finds what lives at path.
func (b *BMC) resource(path string) (resource, bool) {
	system := b.SystemPath()
	switch path {
	case "/redfish":
		return static(obj{"v1": rootPath + "/"}, true), true
	case rootPath:
		return resource{get: b.serviceRoot, public: true}, true
	case rootPath + "/odata":
		return static(serviceDocument(), true), true
	case rootPath + "/SessionService":
		return resource{get: b.sessionService}, true
	case sessionsPath, sessionsPath + "/Members":
		return resource{get: b.sessionList, post: b.login, login: true}, true
	case systemsPath:
		return static(collection(path, "#ComputerSystemCollection.ComputerSystemCollection", "Computer System Collection", system), false), true
	case system:
		return resource{get: b.system, patch: b.patchSystem}, true
	case system + "/Actions/ComputerSystem.Reset":
		return resource{post: b.resetSystem}, true
	case rootPath + "/Chassis":
		return static(collection(path, "#ChassisCollection.ChassisCollection", "Chassis Collection", chassisPath), false), true
	case chassisPath:
		return resource{get: b.chassis}, true
	case rootPath + "/Managers":
		return static(collection(path, "#ManagerCollection.ManagerCollection", "Manager Collection", managerPath), false), true
	case managerPath:
		return resource{get: b.manager}, true
	case managerPath + "/VirtualMedia":
		return static(collection(path, "#VirtualMediaCollection.VirtualMediaCollection", "Virtual Media Collection", mediaPath), false), true
	case mediaPath:
		return resource{get: b.media}, true
	case mediaPath + "/Actions/VirtualMedia.InsertMedia":
		return resource{post: b.insertMedia}, true
	case mediaPath + "/Actions/VirtualMedia.EjectMedia":
		return resource{post: b.ejectMedia}, true
	case rootPath + "/AccountService":
		return static(accountService(), false), true
	case accountsPath:
		return static(collection(path, "#ManagerAccountCollection.ManagerAccountCollection", "Accounts Collection", accountsPath+"/1"), false), true
	case accountsPath + "/1":
		return static(b.account(), false), true
	case rootPath + "/AccountService/Roles":
		return static(collection(path, "#RoleCollection.RoleCollection", "Roles Collection", rolePath), false), true
	case rolePath:
		return static(role(), false), true
	}
	if id, ok := strings.CutPrefix(path, sessionsPath+"/"); ok {
		_, live := b.sessionToken(id)
		return b.session(id), live
	}
	if name, ok := strings.CutPrefix(path, system+"/"); ok {
		return b.partResource(name)
	}
	return b.eventResource(path)
}

func static(body obj, public bool) resource {
	return resource{get: func(context.Context) reply { return reply{body: body} }, public: public}
}

func link(path string) obj { return obj{"@odata.id": path} }

func links(paths ...string) []obj {
	list := make([]obj, 0, len(paths)) // never null: clients range over it
	for _, p := range paths {
		list = append(list, link(p))
	}
	return list
}

func health() obj { return obj{"State": "Enabled", "Health": "OK"} }

// SetHealth has the BMC say of its machine OK, Warning or Critical.
func (b *BMC) SetHealth(s string) { b.health.Store(&s) }

// condition of the machine with all its parts.
func (b *BMC) condition() obj {
	c := health()
	if s := b.health.Load(); s != nil {
		c["Health"], c["HealthRollup"] = *s, *s
	}
	return c
}

func collection(path, kind, name string, members ...string) obj {
	return obj{
		"@odata.type":         kind,
		"@odata.id":           path,
		"Name":                name,
		"Members@odata.count": len(members),
		"Members":             links(members...),
	}
}

func (b *BMC) serviceRoot(context.Context) reply {
	body := obj{
		"@odata.type":    "#ServiceRoot.v1_16_1.ServiceRoot",
		"@odata.id":      rootPath + "/",
		"Id":             "RootService",
		"Name":           "Root Service",
		"RedfishVersion": "1.18.0",
		"UUID":           b.info.UUID,
		"Vendor":         b.info.Manufacturer,
		"Product":        b.info.Model,
		"Systems":        link(systemsPath),
		"Chassis":        link(rootPath + "/Chassis"),
		"Managers":       link(rootPath + "/Managers"),
		"SessionService": link(rootPath + "/SessionService"),
		"AccountService": link(rootPath + "/AccountService"),
		"Links":          obj{"Sessions": link(sessionsPath)},
		"ProtocolFeaturesSupported": obj{
			"ExcerptQuery": false, "FilterQuery": false, "OnlyMemberQuery": false, "SelectQuery": false,
		},
	}
	if b.cfg.Events {
		body["EventService"] = link(eventsPath)
	}
	return reply{body: body}
}

// serviceDocument is the OData service document (DSP0266 §7.4.3).
func serviceDocument() obj {
	entry := func(name, path string) obj { return obj{"name": name, "kind": "Singleton", "url": path} }
	return obj{
		"@odata.context": rootPath + "/$metadata",
		"value": []obj{
			entry("Service", rootPath+"/"),
			entry("Systems", systemsPath),
			entry("Chassis", rootPath+"/Chassis"),
			entry("Managers", rootPath+"/Managers"),
			entry("SessionService", rootPath+"/SessionService"),
			entry("AccountService", rootPath+"/AccountService"),
		},
	}
}

func (b *BMC) chassis(ctx context.Context) reply {
	state, err := b.powerState(ctx)
	if err != nil {
		return reply{err: err}
	}
	return reply{body: obj{
		"@odata.type":  "#Chassis.v1_25_0.Chassis",
		"@odata.id":    chassisPath,
		"Id":           "1",
		"Name":         "Chassis",
		"ChassisType":  "RackMount",
		"Manufacturer": b.info.Manufacturer,
		"Model":        b.info.Model,
		"SerialNumber": b.info.Serial,
		"PowerState":   state,
		"Status":       health(),
		"Links":        obj{"ComputerSystems": links(b.SystemPath()), "ManagedBy": links(managerPath)},
	}}
}

func (b *BMC) manager(context.Context) reply {
	return reply{body: obj{
		"@odata.type":     "#Manager.v1_19_1.Manager",
		"@odata.id":       managerPath,
		"Id":              "BMC",
		"Name":            "Manager",
		"ManagerType":     "BMC",
		"FirmwareVersion": "1.0.0",
		"UUID":            b.info.UUID,
		"DateTime":        b.cfg.Now().UTC().Format("2006-01-02T15:04:05+00:00"),
		"PowerState":      "On",
		"Status":          health(),
		"VirtualMedia":    link(managerPath + "/VirtualMedia"),
		"Links":           obj{"ManagerForServers": links(b.SystemPath()), "ManagerForChassis": links(chassisPath)},
	}}
}

func accountService() obj {
	return obj{
		"@odata.type":    "#AccountService.v1_15_1.AccountService",
		"@odata.id":      rootPath + "/AccountService",
		"Id":             "AccountService",
		"Name":           "Account Service",
		"ServiceEnabled": true,
		"Status":         health(),
		"Accounts":       link(accountsPath),
		"Roles":          link(rootPath + "/AccountService/Roles"),
	}
}

func (b *BMC) account() obj {
	return obj{
		"@odata.type":  "#ManagerAccount.v1_12_1.ManagerAccount",
		"@odata.id":    accountsPath + "/1",
		"Id":           "1",
		"Name":         "User Account",
		"UserName":     b.cfg.Username,
		"Password":     nil, // DSP0268: null in every answer
		"RoleId":       "Administrator",
		"Enabled":      true,
		"Locked":       false,
		"AccountTypes": []string{"Redfish", "IPMI"},
		"Links":        obj{"Role": link(rolePath)},
	}
}

func role() obj {
	return obj{
		"@odata.type":        "#Role.v1_3_2.Role",
		"@odata.id":          rolePath,
		"Id":                 "Administrator",
		"Name":               "User Role",
		"RoleId":             "Administrator",
		"IsPredefined":       true,
		"AssignedPrivileges": []string{"Login", "ConfigureManager", "ConfigureUsers", "ConfigureSelf", "ConfigureComponents"},
	}
}
