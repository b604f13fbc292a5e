package node

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

// The hardware types.
const (
	DriverFake    = "fake-hardware"
	DriverRedfish = "redfish"
	DriverIDRAC   = "idrac"
	DriverIPMI    = "ipmi"
)

// Defaults are the interfaces of a node of a driver whose owner chose none, by
// their first words (facts/ironic.md §2.2).
func Defaults(driver string) map[string]string {
	d := map[string]string{
		"bios": "redfish", "boot": "ipxe", "console": "no-console", "deploy": "direct", "firmware": "redfish", "inspect": "agent",
		"management": "redfish", "network": "noop", "power": "redfish", "raid": "redfish", "rescue": "no-rescue", "storage": "noop", "vendor": "redfish",
	}
	switch driver {
	case DriverFake:
		for name := range d {
			d[name] = "fake"
		}
		d["network"], d["storage"] = "noop", "noop"
	case DriverIDRAC:
		for _, name := range []string{"bios", "management", "power", "raid", "vendor"} {
			d[name] = "idrac-redfish"
		}
	case DriverIPMI:
		maps.Copy(d, map[string]string{
			"bios": "no-bios", "firmware": "no-firmware", "management": "ipmitool", "power": "ipmitool", "raid": "no-raid", "vendor": "ipmitool",
		})
	}
	return d
}

// connection is where a BMC is, as a BareMetalHost says it.
type connection struct {
	address  string
	insecure bool
}

// connectionKeys are those of driver_info that a BareMetalHost has a place for.
var connectionKeys = []string{
	"redfish_address", "redfish_system_id", "redfish_verify_ca", "ipmi_address", "ipmi_port", "ipmi_priv_level",
}

// connect is the connection that a driver, its driver_info and a boot interface mean.
func connect(driver string, info ironic.Object, boot string) (connection, error) {
	switch driver {
	case DriverRedfish, DriverIDRAC:
		return connectRedfish(driver, info, boot)
	case DriverIPMI:
		return connectIPMI(info)
	}
	return connection{}, nil
}

func connectRedfish(driver string, info ironic.Object, boot string) (connection, error) {
	at := text(info["redfish_address"])
	if at == "" {
		return connection{}, nil
	}
	if !strings.Contains(at, "://") {
		at = "https://" + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return connection{}, refuse("Invalid value of driver_info/redfish_address: it has to be like https://10.0.0.3.")
	}
	scheme := "redfish"
	switch {
	case driver == DriverIDRAC && strings.HasSuffix(boot, "virtual-media"):
		scheme = "idrac-virtualmedia"
	case driver == DriverIDRAC:
		scheme = "idrac-redfish"
	case strings.HasSuffix(boot, "virtual-media"):
		scheme = "redfish-virtualmedia"
	case boot == "redfish-https" || boot == "http":
		scheme = "redfish-uefihttp"
	}
	if u.Scheme == "http" {
		scheme += "+http"
	}
	id := text(info["redfish_system_id"])
	if id != "" && !strings.HasPrefix(id, "/") {
		id = "/" + id
	}
	c := connection{address: scheme + "://" + u.Host + (&url.URL{Path: id}).EscapedPath()}
	switch v := info["redfish_verify_ca"].(type) {
	case bool:
		c.insecure = !v
	case string:
		c.insecure = strings.EqualFold(v, "false")
	}
	return c, checkAddress(c.address)
}

func connectIPMI(info ironic.Object) (connection, error) {
	host := text(info["ipmi_address"])
	if host == "" {
		return connection{}, nil
	}
	if strings.Contains(host, ":") || text(info["ipmi_port"]) != "" {
		port := text(info["ipmi_port"])
		if port == "" {
			port = "623"
		}
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	c := connection{address: "ipmi://" + host}
	if level := text(info["ipmi_priv_level"]); level != "" && !strings.EqualFold(level, "ADMINISTRATOR") {
		c.address += "?privilegelevel=" + url.QueryEscape(strings.ToUpper(level))
	}
	return c, checkAddress(c.address)
}

func checkAddress(address string) error {
	if _, err := bmc.ParseAddress(address); err != nil {
		return refuse("driver_info does not say where the BMC is: %v", err)
	}
	return nil
}

// same reports whether two connections mean one.
func (c connection) same(other connection) bool {
	if c.insecure != other.insecure || (c.address == "") != (other.address == "") {
		return false
	}
	if c.address == other.address {
		return true
	}
	a, errA := bmc.ParseAddress(c.address)
	b, errB := bmc.ParseAddress(other.address)
	return errA == nil && errB == nil && a == b
}

// described is a connection as driver, driver_info and boot interface tell it.
func (c connection) described() (driver string, info ironic.Object, boot string) {
	info = ironic.Object{}
	a, err := bmc.ParseAddress(c.address)
	if err != nil {
		return DriverRedfish, info, "" // nothing to go to, or nobody knows where
	}
	if a.Protocol == bmc.ProtocolIPMI {
		info["ipmi_address"] = a.Host
		if a.Port != 623 {
			info["ipmi_port"] = a.Port
		}
		if a.PrivilegeLevel != "" && a.PrivilegeLevel != "ADMINISTRATOR" {
			info["ipmi_priv_level"] = a.PrivilegeLevel
		}
		return DriverIPMI, info, "ipxe"
	}
	driver, boot = DriverRedfish, "ipxe"
	prefix := ""
	if strings.HasPrefix(a.Name, "idrac") {
		driver, prefix = DriverIDRAC, "idrac-"
	}
	switch a.Boot {
	case bmc.BootViaMedia:
		boot = prefix + "redfish-virtual-media"
	case bmc.BootViaUEFIHTTP:
		boot = "redfish-https"
	}
	at := a.BaseURL()
	if a.TLS {
		at = strings.TrimSuffix(at, ":443")
	} else {
		at = strings.TrimSuffix(at, ":80")
	}
	info["redfish_address"] = at
	if a.System != "" {
		info["redfish_system_id"] = a.System
	}
	info["redfish_verify_ca"] = !c.insecure
	return driver, info, boot
}

// credentialKeys are the user's and the password's key in a driver's driver_info.
func credentialKeys(driver string) (user, password string) {
	if driver == DriverIPMI {
		return "ipmi_username", "ipmi_password"
	}
	return "redfish_username", "redfish_password"
}

// secretNames are what the names of secrets have in them (oslo_utils.strutils, and what
// drivers call theirs).
var secretNames = []string{
	"password", "passwd", "passphrase", "pswd", "userpass", "encryptedpass", "adminpass", "admin_pass", "new_pass", "secret", "token",
	"api_key", "apikey", "private_key", "priv_key", "ssh_key", "sshkey", "sslkey", "fernetkey", "encryption_key", "encrypted_key", "auth_key", "kg_key",
}

// Secretive reports whether a key of what clients say looks like that of a secret. Such
// a value is not stored among attributes, and is shown masked.
func Secretive(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(key, part) })
}

// text is a JSON value that clients write as a text or as a number.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
