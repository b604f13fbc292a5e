package rest

import (
	"net/http"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/inventory"
	"github.com/ingot-metal/ingot/pkg/node"
)

func inventoryRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/inventory", since: 81, action: "baremetal:node:inventory:get", do: atOwner(showInventory)},
	}
}

func showInventory(c *call, n *node.Node) (*reply, error) {
	if c.s.Machines == nil || n.Driver == fakeHardware {
		return nil, noInventory(n)
	}
	inv, err := c.s.Machines.Inventory(c.Context(), n)
	if err != nil {
		return nil, machineFault(n, "inventory", err)
	}
	if inv == nil && n.Host != nil && n.Host.Status.HardwareDetails != nil {
		// It was taken by another replica, or by Metal3: the host says the most of it.
		inv = new(inventory.OfDetails(*n.Host.Status.HardwareDetails))
	}
	if inv == nil {
		return nil, noInventory(n)
	}
	bmcHost := ""
	if n.Host != nil {
		if a, err := bmc.ParseAddress(n.Host.Spec.BMC.Address); err == nil {
			bmcHost = a.Host
		}
	}
	return ok(inventory.Ironic(*inv, bmcHost))
}

func noInventory(n *node.Node) error {
	return notFound("Node inventory record for node %s could not be found.", n.UUID)
}
