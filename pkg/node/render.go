package node

import (
	"encoding/json"
	"time"

	"github.com/ingot-metal/ingot/api/ironic"
)

// render fills in the node's document from its objects.
func (s *Store) render(n *Node) {
	d := ironic.Node{
		DriverInfo: ironic.Object{}, DriverInternalInfo: ironic.Object{}, InstanceInfo: ironic.Object{}, Properties: ironic.Object{},
		Extra: ironic.Object{}, NetworkData: ironic.Object{}, RAIDConfig: ironic.Object{}, TargetRAIDConfig: ironic.Object{},
		CleanStep: ironic.Object{}, DeployStep: ironic.Object{}, ServiceStep: ironic.Object{}, Traits: []string{},
	}
	if n.Attrs != nil && n.Attrs.Spec.Attributes != nil {
		_ = json.Unmarshal(n.Attrs.Spec.Attributes.Raw, &d) // ours; what is no node of ours shows nothing
	}
	d.Conductor = &s.Conductor
	if r := n.Record; r != nil {
		d.UUID = r.Spec.ID
		if r.Spec.IronicName != "" {
			d.Name = &r.Spec.IronicName
		}
	} else if n.Host != nil {
		d.UUID = n.Host.Status.Provisioning.ID
	}
	if b := n.Host; b != nil {
		if d.Name == nil {
			name := b.Namespace + "~" + b.Name
			if b.Namespace == s.Namespace {
				name = b.Name
			}
			d.Name = &name
		}
		n.Created = b.CreationTimestamp.Time
	}
	if a := n.Attrs; a != nil && a.Spec.CreatedAt != nil {
		n.Created = a.Spec.CreatedAt.Time
	}
	created := n.Created.UTC().Format(time.RFC3339)
	d.CreatedAt = &created
	if a := n.Attrs; a != nil && a.Spec.UpdatedAt != nil {
		updated := a.Spec.UpdatedAt.UTC().Format(time.RFC3339)
		d.UpdatedAt = &updated
	}
	show(n, &d)
	n.Node = d
	n.Version = n.version()
}

func (n *Node) version() string {
	text := ""
	if n.Host != nil {
		text += version(n.Host)
	}
	if n.Record != nil {
		text += version(n.Record)
	}
	if n.Attrs != nil {
		text += version(n.Attrs)
	}
	return text
}

// show renders the life cycle.
func show(n *Node, d *ironic.Node) {
	st := ironic.Enroll
	if n.Record != nil && n.Record.Status.Node != nil && n.Record.Status.Node.Hold != "" {
		st = ironic.State(n.Record.Status.Node.Hold)
	} else if n.Host != nil && n.Host.Status.Provisioning.State == "available" {
		st = ironic.Available
	}
	d.ProvisionState = &st
}
