package rest

import (
	"net/http"

	"github.com/ingot-metal/ingot/pkg/node"
)

func consoleRoutes() []route {
	const path = "/nodes/{node}/states/console"
	return []route{
		{method: http.MethodGet, path: path, action: "baremetal:node:get_console", do: ofMachine(showConsole)},
		{method: http.MethodPut, path: path, action: "baremetal:node:set_console_state", do: ofMachine(setConsole)},
	}
}

// consoleType names our door for consoles: a stream over HTTPS, which `ingot console`
// shows. It is none of Ironic's (socat, shellinabox, vnc), and a client that knows
// only those, as Nova does, says so rather than connect to something else.
const consoleType = "ingot"

func noConsole(n *node.Node) bool {
	return n.ConsoleInterface == "no-console" || n.ConsoleInterface == "" && n.Driver != fakeHardware
}

func showConsole(c *call, n *node.Node) (*reply, error) {
	out := map[string]any{"console_enabled": n.ConsoleEnabled, "console_info": nil}
	if !n.ConsoleEnabled {
		return ok(out)
	}
	if n.Driver == fakeHardware && !noConsole(n) {
		out["console_info"] = map[string]any{}
		return ok(out)
	}
	at := ""
	if c.s.Machines != nil && !noConsole(n) {
		at = c.s.Machines.Console(n)
	}
	if at == "" {
		return nil, unsupported(n, "console")
	}
	out["console_info"] = map[string]any{"type": consoleType, "url": at}
	return ok(out)
}

// setConsole only says whether the console is shown: a BMC's console is opened when
// somebody watches it.
func setConsole(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"enabled"})
	if err != nil {
		return nil, err
	}
	on, err := truthArg(args, "enabled")
	if err != nil {
		return nil, err
	}
	if noConsole(n) {
		return nil, unsupported(n, "console")
	}
	if on != n.ConsoleEnabled {
		if err := unlocked(n); err != nil {
			return nil, err
		}
		to := n.Clone()
		to.ConsoleEnabled = on
		if _, err := c.s.Nodes.Update(c.Context(), n, to); err != nil {
			return nil, err
		}
	}
	return &reply{status: http.StatusAccepted, location: "/nodes/" + c.PathValue("node") + "/states/console"}, nil
}
