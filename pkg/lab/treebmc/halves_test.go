package treebmc_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

const (
	system   = "/redfish/v1/Systems/1"
	resetURI = system + "/Actions/ComputerSystem.Reset"
	slot1    = "/redfish/v1/Managers/1/VirtualMedia/1"
	slot2    = "/redfish/v1/Managers/1/VirtualMedia/2"
	iso      = "http://192.0.2.1/agent.iso"
	accounts = "/redfish/v1/AccountService/Accounts"
	events   = "/redfish/v1/EventService/Subscriptions"
	updateTo = "/redfish/v1/UpdateService/update"
	simple   = "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate"
)

func ok(a answer) bool { return a.status >= 200 && a.status < 300 }

func twice(f func() bool) bool {
	first := f()
	return f() && first
}

func insert(slot string, more obj) func(*client) bool {
	return func(c *client) bool {
		body := obj{"Image": iso}
		for k, v := range more {
			body[k] = v
		}
		return ok(c.do("POST", slot+"/Actions/VirtualMedia.InsertMedia", body))
	}
}

func boot(uri string, fields obj) func(*client) bool {
	return func(c *client) bool { return ok(c.do("PATCH", uri, obj{"Boot": fields})) }
}

func reset(c *client, kind string) bool { return ok(c.do("POST", resetURI, obj{"ResetType": kind})) }

// bootsFrom sets an override, starts the machine and tells where it went.
func bootsFrom(c *client, target string) string {
	if !boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target})(c) || !reset(c, "On") {
		return "nothing"
	}
	boots := c.bmc.Boots()
	return boots[len(boots)-1]
}

func flash(c *client) answer {
	return c.do("POST", simple, obj{"ImageURI": "http://192.0.2.1/bios-2.1.0.bin"})
}

// halves are the switches of the simulator: what a client that keeps to the
// standard does, which works with the switch off alone, and what works with it on.
var halves = []struct {
	name     quirk.Name
	o        treebmc.Options
	standard func(*client) bool
	instead  func(*client) bool
}{
	{
		name:     quirk.NoSessions,
		standard: func(c *client) bool { return c.get("/redfish/v1")["SessionService"] != nil },
		instead:  func(c *client) bool { return ok(c.do("GET", system, nil)) },
	},
	{
		name: quirk.NoKeepAlive,
		standard: func(c *client) bool {
			return twice(func() bool { return c.do("POST", "/redfish/v1/Systems", obj{}).status == 405 })
		},
		instead: func(c *client) bool { return ok(c.do("GET", system, nil, "Connection", "close")) },
	},
	{
		name:     quirk.OnePerSecond,
		standard: func(c *client) bool { return twice(func() bool { return ok(c.do("GET", system, nil)) }) },
		instead: func(c *client) bool {
			a := c.do("GET", system, nil)
			return a.status == 503 && a.header.Get("Retry-After") == "1"
		},
	},
	{
		name:     quirk.ETagRequired,
		standard: func(c *client) bool { return ok(c.do("PATCH", system, obj{"AssetTag": "a"})) },
		instead:  func(c *client) bool { return ok(c.do("PATCH", system, obj{"AssetTag": "a"}, "If-Match", "*")) },
	},
	{
		name: quirk.ETagLadder, o: treebmc.Options{CheckETags: true},
		standard: func(c *client) bool {
			return ok(c.do("PATCH", system, obj{"AssetTag": "a"}, "If-Match", c.do("GET", system, nil).header.Get("ETag")))
		},
		instead: func(c *client) bool {
			tag := strings.TrimPrefix(c.do("GET", system, nil).header.Get("ETag"), "W/")
			return ok(c.do("PATCH", system, obj{"AssetTag": "a"}, "If-Match", tag))
		},
	},
	{
		name: quirk.PostBusy, o: treebmc.Options{PostReads: 2},
		standard: func(c *client) bool { return reset(c, "On") && ok(c.do("PATCH", system, obj{"AssetTag": "a"})) },
		instead: func(c *client) bool {
			return twice(func() bool { return ok(c.do("GET", system, nil)) }) && ok(c.do("PATCH", system, obj{"AssetTag": "a"}))
		},
	},
	{
		name:     quirk.PowerConflict,
		standard: func(c *client) bool { return reset(c, "On") },
		instead:  func(c *client) bool { return reset(c, "On") },
	},
	{
		name:     quirk.TrailingSlash,
		standard: func(c *client) bool { return ok(c.do("GET", system, nil)) },
		instead:  func(c *client) bool { return ok(c.do("GET", system+"/", nil)) },
	},
	{
		name:     quirk.GzipRegistry,
		standard: func(c *client) bool { return ok(c.do("GET", "/redfish/v1/Registries", nil)) },
		instead:  func(c *client) bool { return ok(c.do("GET", "/redfish/v1/Registries", nil, "Accept-Encoding", "gzip")) },
	},
	{
		name: quirk.MediaPatch, standard: insert(slot1, nil),
		instead: func(c *client) bool {
			fill := ok(c.do("PATCH", slot1, obj{"Image": iso, "Inserted": true, "WriteProtected": true}))
			full := c.get(slot1)["Inserted"] == true
			empty := ok(c.do("PATCH", slot1, obj{"Image": nil, "Inserted": false}))
			return fill && full && empty && c.get(slot1)["Inserted"] == false
		},
	},
	{name: quirk.MediaMinimalBody, standard: insert(slot1, obj{"Inserted": true, "WriteProtected": true}), instead: insert(slot1, nil)},
	{
		name: quirk.MediaTransfer, standard: insert(slot1, nil),
		instead: insert(slot1, obj{"TransferProtocolType": "HTTP", "TransferMethod": "Stream", "UserName": "x", "Password": "x"}),
	},
	{
		name:     quirk.EjectEmptyObject,
		standard: func(c *client) bool { return ok(c.do("POST", slot1+"/Actions/VirtualMedia.EjectMedia", nil)) },
		instead:  func(c *client) bool { return ok(c.do("POST", slot1+"/Actions/VirtualMedia.EjectMedia", obj{})) },
	},
	{
		name:     quirk.MediaOnSystem,
		standard: func(c *client) bool { return c.get("/redfish/v1/Managers/1")["VirtualMedia"] != nil },
		instead:  func(c *client) bool { return c.get(system)["VirtualMedia"] != nil },
	},
	{name: quirk.MediaFirstSlot, standard: insert(slot2, nil), instead: insert(slot1, nil)},
	{
		name: quirk.MediaStale, standard: insert(slot1, nil),
		instead: func(c *client) bool {
			return ok(c.do("POST", slot1+"/Actions/VirtualMedia.EjectMedia", obj{})) && insert(slot1, nil)(c)
		},
	},
	{name: quirk.MediaSkipSlot, standard: insert(slot1, nil), instead: insert(slot2, nil)},
	{
		name:     quirk.MediaFileName,
		standard: func(c *client) bool { return insert(slot1, nil)(c) && c.get(slot1)["Image"] == iso },
		instead:  func(c *client) bool { return c.get(slot1)["Image"] == "download.iso" },
	},
	{
		name:     quirk.OnlyContinuous,
		standard: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "None"}),
		instead: func(c *client) bool {
			return boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"})(c) &&
				at(c.get(system), "Boot", "BootSourceOverrideEnabled") == "Continuous"
		},
	},
	{
		name: quirk.IndicatorBlinks,
		standard: func(c *client) bool {
			return ok(c.do("PATCH", system, obj{"IndicatorLED": "Off"})) && c.get(system)["IndicatorLED"] == "Off"
		},
		instead: func(c *client) bool { return c.get(system)["IndicatorLED"] == "Lit" },
	},
	{name: quirk.MediaPlainURL, standard: insert(slot1, obj{"Image": iso + "?a=b"}), instead: insert(slot1, nil)},
	{
		name: quirk.MediaOffToEject,
		standard: func(c *client) bool {
			return reset(c, "On") && insert(slot1, nil)(c) && ok(c.do("POST", slot1+"/Actions/VirtualMedia.EjectMedia", obj{}))
		},
		instead: func(c *client) bool {
			return reset(c, "ForceOff") && ok(c.do("POST", slot1+"/Actions/VirtualMedia.EjectMedia", obj{}))
		},
	},
	{
		name:     quirk.CDIsUSBCD,
		standard: func(c *client) bool { return bootsFrom(c, "Cd") == "Cd" },
		instead:  func(c *client) bool { return reset(c, "ForceOff") && bootsFrom(c, "UsbCd") == "UsbCd" },
	},
	{
		name:     quirk.DellVirtualCDBoot,
		standard: func(c *client) bool { return bootsFrom(c, "Cd") == "Cd" },
		instead: func(c *client) bool {
			set := c.do("PATCH", "/redfish/v1/Managers/1/Attributes", obj{"Attributes": obj{"ServerBoot.1.FirstBootDevice": "VCD-DVD"}})
			return reset(c, "ForceOff") && ok(set) && reset(c, "On") && c.bmc.Boots()[1] == "VirtualCd"
		},
	},
	{
		name: quirk.BootViaSettings, standard: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}),
		instead: func(c *client) bool {
			uri, _ := at(c.get(system), "@Redfish.Settings", "SettingsObject", "@odata.id").(string)
			return boot(uri, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"})(c) &&
				reset(c, "On") && c.bmc.Boots()[0] == "Pxe"
		},
	},
	{
		name: quirk.BootFullBody, standard: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}),
		instead: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "UEFI"}),
	},
	{
		name: quirk.BootAlwaysEnabled,
		standard: func(c *client) bool {
			return boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"})(c) &&
				boot(system, obj{"BootSourceOverrideTarget": "Cd"})(c) && at(c.get(system), "Boot", "BootSourceOverrideEnabled") == "Once"
		},
		instead: func(c *client) bool {
			return boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"})(c) &&
				at(c.get(system), "Boot", "BootSourceOverrideEnabled") == "Once"
		},
	},
	{
		name:     quirk.BootMinimalBody,
		standard: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "UEFI"}),
		instead:  boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}),
	},
	{
		name: quirk.NoContinuous, standard: boot(system, obj{"BootSourceOverrideEnabled": "Continuous", "BootSourceOverrideTarget": "Pxe"}),
		instead: boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}),
	},
	{
		name: quirk.BootModeFlips,
		standard: func(c *client) bool {
			return boot(system, obj{"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"})(c) &&
				at(c.get(system), "Boot", "BootSourceOverrideMode") == "UEFI"
		},
		instead: func(c *client) bool {
			return boot(system, obj{"BootSourceOverrideMode": "UEFI"})(c) && at(c.get(system), "Boot", "BootSourceOverrideMode") == "UEFI"
		},
	},
	{
		name: quirk.NoBootWrite,
		standard: func(c *client) bool {
			order := obj{"BootOrder": []string{"Boot0002", "Boot0001"}}
			first := func() any { return at(c.get(system), "Boot", "BootOrder").([]any)[0] }
			return boot(system, order)(c) && first() == "Boot0002" &&
				boot(system, obj{"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"})(c) && first() == "Boot0002"
		},
		instead: func(*client) bool { return true }, // to write nothing
	},
	{
		name: quirk.BIOSApplyTime,
		standard: func(c *client) bool {
			return ok(c.do("PATCH", system+"/Bios/Settings", obj{"Attributes": obj{"NumLock": false}})) && reset(c, "On") &&
				at(c.get(system+"/Bios"), "Attributes", "NumLock") == false
		},
		instead: func(c *client) bool {
			return ok(c.do("PATCH", system+"/Bios/Settings", obj{
				"Attributes": obj{"NumLock": false}, "@Redfish.SettingsApplyTime": obj{"ApplyTime": "OnReset"},
			})) && reset(c, "ForceRestart") && at(c.get(system+"/Bios"), "Attributes", "NumLock") == false
		},
	},
	{
		name:     quirk.BIOSResetBody,
		standard: func(c *client) bool { return ok(c.do("POST", system+"/Bios/Actions/Bios.ResetBios", nil)) },
		instead:  func(c *client) bool { return ok(c.do("POST", system+"/Bios/Actions/Bios.ResetBios", obj{})) },
	},
	{
		name:     quirk.BIOSPath,
		standard: func(c *client) bool { return ok(c.do("GET", system+"/Bios", nil)) },
		instead:  func(c *client) bool { return ok(c.do("GET", system+"/BIOS", nil)) },
	},
	{
		name: quirk.TaskVanishes,
		standard: func(c *client) bool {
			return c.do("GET", flash(c).header.Get("Location"), nil).body["TaskState"] == "Completed"
		},
		instead: func(c *client) bool {
			return c.get("/redfish/v1/UpdateService/FirmwareInventory/BIOS")["Version"] == "2.1.0"
		},
	},
	{
		name:     quirk.TaskInBody,
		standard: func(c *client) bool { return flash(c).header.Get("Location") != "" },
		instead:  func(c *client) bool { return strings.Contains(flash(c).body["@odata.id"].(string), "/Tasks/") },
	},
	{
		name:     quirk.AcceptedNoLocation,
		standard: func(c *client) bool { return flash(c).body != nil },
		instead: func(c *client) bool {
			return c.get("/redfish/v1/UpdateService/FirmwareInventory/BIOS")["Version"] == "2.1.0"
		},
	},
	{
		name: quirk.ContentLength,
		standard: func(c *client) bool {
			return ok(c.do("POST", updateTo, io.MultiReader(strings.NewReader("firmware")), "Content-Type", "application/octet-stream"))
		},
		instead: func(c *client) bool {
			return ok(c.do("POST", updateTo, "firmware", "Content-Type", "application/octet-stream"))
		},
	},
	{
		name: quirk.PushPath,
		standard: func(c *client) bool {
			return ok(c.do("POST", updateTo, "firmware", "Content-Type", "application/octet-stream"))
		},
		instead: func(c *client) bool {
			return ok(c.do("POST", "/cgi-bin/uploadFile", "firmware", "Content-Type", "application/octet-stream"))
		},
	},
	{
		name:     quirk.FirmwareMultipart,
		standard: func(c *client) bool { return ok(flash(c)) },
		instead: func(c *client) bool {
			body := "--b\r\nContent-Disposition: form-data; name=\"UpdateFile\"; filename=\"bios-3.0.1.bin\"\r\n\r\nx\r\n--b--\r\n"
			a := c.do("POST", "/redfish/v1/UpdateService/update-multipart", body, "Content-Type", "multipart/form-data; boundary=b")
			return ok(c.do("GET", a.header.Get("Location"), nil)) &&
				c.get("/redfish/v1/UpdateService/FirmwareInventory/BIOS")["Version"] == "3.0.1"
		},
	},
	{
		name: quirk.OneTask, o: treebmc.Options{TaskReads: 3},
		standard: func(c *client) bool {
			first := flash(c).header.Get("Location")
			return first != flash(c).header.Get("Location")
		},
		instead: func(c *client) bool { return c.get("/redfish/v1/TaskService/Tasks/42")["TaskState"] == "Completed" },
	},
	{
		name: quirk.AccountSlots,
		standard: func(c *client) bool {
			return ok(c.do("POST", accounts, obj{"UserName": "new", "Password": "long enough", "RoleId": "Operator"}))
		},
		instead: func(c *client) bool {
			return ok(c.do("PATCH", accounts+"/3", obj{"UserName": "new", "Password": "long enough", "RoleId": "Operator", "Enabled": true})) &&
				c.get(accounts + "/3")["UserName"] == "new"
		},
	},
	{
		name: quirk.EventDuplicate,
		standard: func(c *client) bool {
			s := obj{"Destination": "https://192.0.2.1/events", "Context": "c"}
			return twice(func() bool { return ok(c.do("POST", events, s)) })
		},
		instead: func(c *client) bool { return len(c.get(events)["Members"].([]any)) == 1 },
	},
	{
		name: quirk.EventNoRetry,
		standard: func(c *client) bool {
			return ok(c.do("POST", events, obj{"Destination": "https://192.0.2.1/e", "DeliveryRetryPolicy": "RetryForever"}))
		},
		instead: func(c *client) bool { return ok(c.do("POST", events, obj{"Destination": "https://192.0.2.1/e"})) },
	},
	{
		name: quirk.EventNoContext,
		standard: func(c *client) bool {
			a := c.do("POST", events, obj{"Destination": "https://192.0.2.1/e", "Context": ""})
			return a.body["Context"] == ""
		},
		instead: func(c *client) bool {
			a := c.do("POST", events, obj{"Destination": "https://192.0.2.1/e", "Context": "c"})
			return a.body["Context"] == "c"
		},
	},
	{
		name:     quirk.HostSystem,
		standard: func(c *client) bool { return len(c.get("/redfish/v1/Systems")["Members"].([]any)) == 1 },
		instead: func(c *client) bool {
			return at(c.get("/redfish/v1/Systems/HGX_Baseboard_0"), "Actions") == nil && at(c.get(system), "Actions") != nil
		},
	},
	{
		name:     quirk.SerialIsSKU,
		standard: func(c *client) bool { return c.get(system)["SerialNumber"] == "S1" },
		instead:  func(c *client) bool { return c.get(system)["SKU"] == "S1" },
	},
	{
		name: quirk.ShortPassword, o: treebmc.Options{Username: "admin", Password: "secret"},
		standard: func(c *client) bool {
			const long = "a password of more than 20"
			c.token = c.do("POST", "/redfish/v1/SessionService/Sessions", obj{"UserName": "admin", "Password": "secret"}).header.Get("X-Auth-Token")
			return ok(c.do("PATCH", accounts+"/2", obj{"Password": long})) &&
				ok(c.do("POST", "/redfish/v1/SessionService/Sessions", obj{"UserName": "admin", "Password": long}))
		},
		instead: func(c *client) bool {
			return ok(c.do("POST", "/redfish/v1/SessionService/Sessions", obj{"UserName": "admin", "Password": "a password of more than 20"[:20]}))
		},
	},
	{
		name:     quirk.NoManufacturer,
		standard: func(c *client) bool { return c.get(system)["Manufacturer"] == "Contoso" },
		instead:  func(c *client) bool { return c.get(system)["Model"] == "Small" },
	},
}

// TestHalves runs each switch of the simulator. It says nothing of the driver.
func TestHalves(t *testing.T) {
	seen := quirk.Set{quirk.IPMIUEFIDisk: true, quirk.IPMIBootTimer: true, quirk.IPMIPlainBoot: true, quirk.IPMINoCycle: true} // not Redfish's
	for _, h := range halves {
		seen[h.name] = true
		t.Run(string(h.name), func(t *testing.T) {
			clock := time.Unix(1_000_000, 0)
			h.o.Now = func() time.Time { return clock }
			if !h.standard(small(t, h.o)) {
				t.Error("off: what the standard has does not work")
			}
			h.o.Quirks = quirk.Set{h.name: true}
			c := small(t, h.o)
			if h.standard(c) {
				t.Error("on: what the standard has works still")
			}
			if !h.instead(c) {
				t.Error("on: what the quirk wants does not work")
			}
		})
	}
	for _, i := range quirk.All() {
		if !seen[i.Name] {
			t.Errorf("the simulator has no switch for %s", i.Name)
		}
	}
}
