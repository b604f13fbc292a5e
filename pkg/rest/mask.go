package rest

import (
	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// masked is o without its secrets; o itself where it has none.
func masked(o ironic.Object) ironic.Object {
	m, _ := maskedMap(o)
	return m
}

func maskedMap(o map[string]any) (out map[string]any, changed bool) {
	for key, value := range o {
		var to any = ironic.Masked
		switch inner, isMap := value.(map[string]any); {
		case isMap:
			m, different := maskedMap(inner)
			if !different {
				continue
			}
			to = m
		case node.Secretive(key) && value != ironic.Masked:
		default:
			continue
		}
		if !changed {
			out, changed = make(map[string]any, len(o)), true
			for k, v := range o {
				out[k] = v
			}
		}
		out[key] = to
	}
	if !changed {
		return o, false
	}
	return out, true
}

// withoutSecrets is a node as clients may see it. What the store keeps in Secrets is
// masked there; this is for what clients put elsewhere. An object that is not there is
// an empty one to them.
func withoutSecrets(n ironic.Node) ironic.Node {
	wholeObjects(&n)
	n.DriverInfo, n.DriverInternalInfo, n.InstanceInfo = masked(n.DriverInfo), masked(n.DriverInternalInfo), masked(n.InstanceInfo)
	for _, key := range []string{"configdrive", "image_url"} {
		if value, ok := n.InstanceInfo[key]; ok && value != nil && value != "" && value != ironic.Masked {
			info := ironic.Object{}
			for k, v := range n.InstanceInfo {
				info[k] = v
			}
			info[key] = ironic.Masked
			n.InstanceInfo = info
		}
	}
	return n
}
