package rest

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/node"
)

// portIndex is all ports: those that clients made, and of each host the NICs that were
// found in it or that it boots from and that nobody made a port of.
type portIndex struct {
	list  []*node.Object // the oldest first
	byID  map[string]*node.Object
	byMAC map[string]*node.Object

	// What it was made from. The store hands out the same nodes for as long as none
	// changed; that they are held here keeps their address from being used again.
	nodes   []*node.Node
	changes uint64
	found   map[string]foundPorts // by the node's UUID
}

type foundPorts struct {
	version string
	ports   []*node.Object
}

// allPorts returns all ports. Nobody changes what it returns.
func (k *kept) allPorts(s *Server) portIndex {
	changes, nodes := s.Nodes.ObjectChanges(), s.Nodes.List()
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.ports
	if was.byID != nil && was.changes == changes && sameSlice(was.nodes, nodes) {
		return was
	}
	stored, gone := s.Nodes.Objects(node.KindPort), s.Nodes.Objects(node.KindNoPort)
	is := portIndex{
		list: stored, byID: make(map[string]*node.Object, len(stored)), byMAC: make(map[string]*node.Object, len(stored)),
		nodes: nodes, changes: changes, found: make(map[string]foundPorts, len(nodes)),
	}
	for _, o := range stored {
		is.byID[o.UUID] = o
		is.byMAC[addressOf(o)] = o
	}
	hidden := make(map[string]bool, len(gone))
	for _, o := range gone {
		hidden[o.UUID] = true
	}
	for _, n := range nodes {
		f := was.found[n.UUID]
		if f.version != n.Version || f.ports == nil {
			f = foundPorts{n.Version, nicPorts(n)}
		}
		is.found[n.UUID] = f
		for _, o := range f.ports {
			mac := addressOf(o)
			if _, taken := is.byMAC[mac]; taken || hidden[o.UUID] {
				continue
			}
			is.list = append(is.list, o)
			is.byID[o.UUID], is.byMAC[mac] = o, o
		}
	}
	slices.SortFunc(is.list, func(a, b *node.Object) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.UUID, b.UUID))
	})
	k.ports = is
	return is
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// addressOf is a port's MAC address.
func addressOf(o *node.Object) string {
	var body struct {
		Address string `json:"address"`
	}
	_ = json.Unmarshal(o.Body, &body) // what is none has no address
	mac, _ := normalMAC(body.Address)
	return mac
}

// nicPorts are the ports that a host's NICs make. A port's UUID is made of the node's
// and the MAC address, so that it stays the same.
func nicPorts(n *node.Node) []*node.Object {
	list := []*node.Object{}
	space, err := uuid.Parse(n.UUID)
	if err != nil || n.Host == nil || !n.Host.DeletionTimestamp.IsZero() {
		return list
	}
	boot, _ := normalMAC(n.Host.Spec.BootMACAddress)
	seen := map[string]bool{}
	add := func(address string, pxe bool, link map[string]string) {
		mac, ok := normalMAC(address)
		if !ok || seen[mac] {
			return
		}
		seen[mac] = true
		body, err := json.Marshal(map[string]any{"address": mac, "pxe_enabled": pxe, "local_link_connection": link})
		if err != nil {
			return // cannot be
		}
		list = append(list, &node.Object{
			Kind: node.KindPort, UUID: uuid.NewSHA1(space, []byte(mac)).String(), Node: n.UUID, Body: body, Created: n.Created,
		})
	}
	if hw := n.Host.Status.HardwareDetails; hw != nil {
		for _, nic := range hw.NIC {
			link := map[string]string{}
			if l := nic.LLDP; l != nil {
				if id, ok := switchID(l.SwitchID); ok && l.PortID != "" {
					link["switch_id"], link["port_id"] = id, l.PortID
					if l.SwitchSystemName != "" {
						link["switch_info"] = l.SwitchSystemName
					}
				}
			}
			mac := strings.ToLower(nic.MAC)
			add(mac, mac == boot || boot == "" && nic.PXE, link)
		}
	}
	add(boot, true, map[string]string{})
	return list
}
