package bmctest

import "github.com/ingot-metal/ingot/pkg/bmc"

// Capability of a Conn: an interface of package bmc beside Conn.
type Capability struct {
	Name string `json:"name"`
	// Driver says that the driver has it; whether the BMC does is for the checks.
	Driver bool `json:"driver"`
}

// Capabilities asserts every interface of package bmc, in the order in which they
// are documented.
func Capabilities(conn bmc.Conn) []Capability {
	return []Capability{
		capability[bmc.Power]("power", conn),
		capability[bmc.Boot]("boot", conn),
		capability[bmc.Details]("details", conn),
		capability[bmc.Ops]("operations", conn),
		capability[bmc.BootOrder]("boot-order", conn),
		capability[bmc.Media]("media", conn),
		capability[bmc.Settings]("bios", conn),
		capability[bmc.SecureBoot]("secure-boot", conn),
		capability[bmc.Firmware]("firmware", conn),
		capability[bmc.Storage]("storage", conn),
		capability[bmc.Health]("health", conn),
		capability[bmc.Log]("log", conn),
		capability[bmc.Indicator]("indicator", conn),
		capability[bmc.Accounts]("accounts", conn),
		capability[bmc.Events]("events", conn),
		capability[bmc.Inspector]("inspect", conn),
		capability[bmc.Console]("console", conn),
	}
}

func capability[I any](name string, conn bmc.Conn) Capability {
	_, ok := conn.(I)
	return Capability{Name: name, Driver: ok}
}
