package fromironic

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

// fakeDriver is Ironic's driver without a machine.
const fakeDriver = "fake-hardware"

// machine is how a node's BMC is reached.
type machine struct {
	text      string // the address, as a BareMetalHost has it
	address   bmc.Address
	username  string
	password  string // where Ironic shows it
	noVerify  bool   // its certificate is not looked at
	authority string // file of a CA, at Ironic's
}

// key is the same for two addresses of one BMC.
func key(a bmc.Address) string {
	return strings.ToLower(fmt.Sprintf("%s|%s|%s", a.Protocol, a.HostPort(), strings.TrimRight(a.System, "/")))
}

// machineOf reads driver_info; nil: a node of fake-hardware.
func machineOf(n *Node) (*machine, error) {
	switch n.Driver {
	case fakeDriver:
		return nil, nil
	case "redfish", "idrac":
		return redfish(n)
	case "ipmi", "intel-ipmi":
		return ipmi(n)
	case "ilo", "ilo5", "irmc", "xclarity", "ibmc":
		return nil, fmt.Errorf("its driver is %s, which is not spoken here: set it to redfish (or ipmi) in Ironic first", n.Driver)
	}
	return nil, fmt.Errorf("its driver is %q, and here are redfish, idrac, ipmi and fake-hardware", clip(n.Driver))
}

func redfish(n *Node) (*machine, error) {
	in := info(n.DriverInfo)
	m := &machine{username: in.text("redfish_username"), password: in.text("redfish_password")}
	address := in.text("redfish_address")
	if address == "" {
		return nil, errors.New("driver_info has no redfish_address")
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("its redfish_address is no URL of a BMC")
	}
	system := in.text("redfish_system_id")
	if system != "" && !strings.HasPrefix(system, "/") {
		system = "/" + system
	}
	switch verify := in["redfish_verify_ca"].(type) {
	case bool:
		m.noVerify = !verify
	case string:
		no := strings.EqualFold(verify, "false") || verify == "0"
		yes := verify == "" || strings.EqualFold(verify, "true") || verify == "1"
		m.noVerify = no
		if !no && !yes {
			m.authority = clip(verify)
		}
	}
	return m, m.at(redfishScheme(n, u.Scheme) + "://" + u.Host + (&url.URL{Path: system}).EscapedPath())
}

// redfishScheme is Metal3's word for a driver and the way in which it boots.
func redfishScheme(n *Node, transport string) string {
	scheme := "redfish"
	if n.Driver == "idrac" {
		scheme = "idrac-redfish"
	}
	switch n.BootInterface {
	case "redfish-virtual-media", "idrac-redfish-virtual-media":
		scheme = strings.TrimSuffix(scheme, "-redfish") + "-virtualmedia"
	case "redfish-https", "http":
		scheme = "redfish-uefihttp"
	}
	if transport == "http" {
		scheme += "+http"
	}
	return scheme
}

func ipmi(n *Node) (*machine, error) {
	in := info(n.DriverInfo)
	m := &machine{username: in.text("ipmi_username"), password: in.text("ipmi_password")}
	host := in.text("ipmi_address")
	if host == "" {
		return nil, errors.New("driver_info has no ipmi_address")
	}
	if b := in.text("ipmi_bridging"); b != "" && b != "no" {
		return nil, fmt.Errorf("its ipmi_bridging is %q, and requests are not bridged here", clip(b))
	}
	host = strings.Trim(host, "[]")
	if port := in.text("ipmi_port"); port != "" || strings.Contains(host, ":") {
		host = net.JoinHostPort(host, cmp.Or(port, "623"))
	}
	query := ""
	if level := in.text("ipmi_priv_level"); level != "" && !strings.EqualFold(level, "ADMINISTRATOR") {
		query = "?privilegelevel=" + url.QueryEscape(strings.ToUpper(level))
	}
	return m, m.at("ipmi://" + host + query)
}

func (m *machine) at(text string) error {
	var err error
	if m.address, err = bmc.ParseAddress(text); err != nil {
		return fmt.Errorf("its address: %w", err)
	}
	m.text = text
	return nil
}

// info is a driver_info.
type info ironic.Object

// text is a text or a number; what Ironic masked is none.
func (in info) text(key string) string {
	switch v := in[key].(type) {
	case string:
		if v == ironic.Masked {
			return ""
		}
		return strings.TrimSpace(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// withoutSecrets leaves out what Ironic masked and what it would have to, or puts
// stand-in in its place.
func withoutSecrets(o ironic.Object, standIn string) ironic.Object {
	out := ironic.Object{}
	for k, v := range o {
		if v == ironic.Masked || isSecret(k) {
			if standIn != "" {
				out[k] = standIn
			}
			continue
		}
		if inner, ok := v.(map[string]any); ok {
			v = map[string]any(withoutSecrets(inner, standIn))
		}
		out[k] = v
	}
	return out
}

// isSecret knows the keys that Ironic masks (oslo.utils, and its own configdrive).
func isSecret(key string) bool {
	key = strings.ToLower(key)
	if key == "configdrive" {
		return true
	}
	for _, part := range []string{"password", "passwd", "secret", "token", "auth_key", "private_key", "admin_pass", "adminpass"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}
