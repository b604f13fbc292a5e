package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/node"
)

func vendorRoutes() []route {
	const node, driver = "/nodes/{node}/vendor_passthru", "/drivers/{driver}/vendor_passthru"
	routes := []route{
		{method: http.MethodGet, path: node + "/methods", action: "baremetal:node:vendor_passthru", do: ofMachine(listVendorMethods)},
		{method: http.MethodGet, path: driver + "/methods", action: "baremetal:driver:vendor_passthru", do: listDriverMethods},
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, tail := range []string{"", "/{method}"} {
			routes = append(
				routes,
				route{method: method, path: node + tail, action: "baremetal:node:vendor_passthru", do: atOwner(vendorPassthru)},
				route{method: method, path: driver + tail, action: "baremetal:driver:vendor_passthru", do: driverPassthru},
			)
		}
	}
	return routes
}

// vendorMethod is an extension of a vendor interface.
type vendorMethod struct {
	name        string
	method      string // of HTTP
	async       bool   // answered before it is done, with 202 and no body
	shared      bool   // done beside an operation
	description string
	must        []string // arguments without which it does nothing
	do          func(c *call, n *node.Node, args map[string]any) (any, error)
}

// vendorMethods are those of a node's vendor interface.
func vendorMethods(n *node.Node) []vendorMethod {
	vendor := n.VendorInterface
	if vendor == "" {
		vendor = map[string]string{fakeHardware: "fake", "redfish": "redfish", "idrac": "idrac-redfish", "ipmi": "ipmitool"}[n.Driver]
	}
	switch vendor {
	case "fake":
		return fakeVendorMethods()
	case "redfish", "idrac-redfish":
		return redfishVendorMethods()
	case "ipmitool":
		return []vendorMethod{{
			name: "send_raw", method: http.MethodPost, async: true, do: refuseRaw,
			description: "Send raw bytes to the BMC. Refused here: whoever may do that is the BMC's administrator.",
		}}
	}
	return nil
}

func listVendorMethods(_ *call, n *node.Node) (*reply, error) {
	out := map[string]any{}
	for _, m := range vendorMethods(n) {
		out[m.name] = map[string]any{
			"http_methods": []string{m.method}, "async": m.async, "description": m.description,
			"attach": false, "require_exclusive_lock": !m.shared,
		}
	}
	return ok(out)
}

// vendorMethodName is the path's, or ?method=.
func (c *call) vendorMethodName() (string, error) {
	name := c.PathValue("method")
	if name == "" {
		name = c.URL.Query().Get("method")
	}
	if name == "" {
		return "", badRequest("Missing mandatory parameter: method")
	}
	return name, nil
}

func vendorPassthru(c *call, n *node.Node) (*reply, error) {
	name, err := c.vendorMethodName()
	if err != nil {
		return nil, err
	}
	methods := vendorMethods(n)
	i := slices.IndexFunc(methods, func(m vendorMethod) bool { return m.name == name })
	if i < 0 {
		return nil, badRequest("No handler for method %s", name)
	}
	m := methods[i]
	if c.Method != m.method {
		return nil, badRequest("The method %s does not support HTTP %s", name, c.Method)
	}
	args, err := c.bodyObject()
	if err != nil {
		return nil, err
	}
	for key, values := range c.URL.Query() { // a GET or a DELETE has no body with many clients
		if _, sent := args[key]; !sent && key != "method" {
			args[key] = strings.Join(values, ",")
		}
	}
	if !m.shared {
		if err := unlocked(n); err != nil {
			return nil, err
		}
	}
	for _, a := range m.must {
		if v := args[a]; v == nil || v == "" || v == false {
			return nil, badRequest("Parameter '%s' not passed to method '%s'.", a, name)
		}
	}
	out, err := m.do(c, n, args)
	switch {
	case err != nil:
		return nil, err
	case m.async:
		return accepted()
	case out == nil:
		return &reply{status: http.StatusOK, raw: []byte("null")}, nil
	}
	return ok(out)
}

// vendorDriver finds the driver of the path.
func (c *call) vendorDriver() error {
	driver := c.PathValue("driver")
	if !slices.Contains([]string{fakeHardware, "redfish", "idrac", "ipmi"}, driver) {
		return notFound("The driver '%s' is unknown.", driver)
	}
	return nil
}

// listDriverMethods: no driver of ours has an extension of its own.
func listDriverMethods(c *call) (*reply, error) {
	if err := c.vendorDriver(); err != nil {
		return nil, err
	}
	return ok(map[string]any{})
}

func driverPassthru(c *call) (*reply, error) {
	if err := c.vendorDriver(); err != nil {
		return nil, err
	}
	name, err := c.vendorMethodName()
	if err != nil {
		return nil, err
	}
	return nil, badRequest("No handler for method %s", name)
}

// fakeVendorMethods are those of Ironic's fake vendor interface (FakeVendorB), which
// clients' own tests call.
func fakeVendorMethods() []vendorMethod {
	expect := func(want string) func(*call, *node.Node, map[string]any) (any, error) {
		return func(_ *call, _ *node.Node, args map[string]any) (any, error) { return args["bar"] == want, nil }
	}
	var out []vendorMethod
	for _, m := range []struct {
		name, want  string
		sync, share bool
	}{
		{name: "second_method", want: "kazoo"},
		{name: "third_method_sync", want: "meow", sync: true},
		{name: "fourth_method_shared_lock", want: "woof", share: true},
	} {
		out = append(out, vendorMethod{
			name: m.name, method: http.MethodPost, async: !m.sync, shared: m.share,
			description: "Test if the value of bar is " + m.want, must: []string{"bar"}, do: expect(m.want),
		})
	}
	return out
}

// refuseRaw does not send bytes that a client made up to a BMC (Ironic refuses them
// in steps by default since 2026).
func refuseRaw(*call, *node.Node, map[string]any) (any, error) {
	return nil, badRequest("The method send_raw is refused: ingot sends no raw bytes to BMCs.")
}
