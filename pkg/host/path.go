package host

import "slices"

// edges are Metal3's between states, those that deletion adds included.
var edges = map[State][]State{
	None:                    {Registering, Unmanaged},
	Unmanaged:               {Registering, Deleting},
	Registering:             {Inspecting, Preparing, ExternallyProvisioned, Unmanaged, Deleting},
	Inspecting:              {Preparing, PoweringOffBeforeDelete},
	Preparing:               {Available, PoweringOffBeforeDelete},
	Available:               {Provisioning, Inspecting, Preparing, ExternallyProvisioned, PoweringOffBeforeDelete},
	Provisioning:            {Provisioned, Deprovisioning},
	Provisioned:             {Deprovisioning},
	ExternallyProvisioned:   {Provisioned, PoweringOffBeforeDelete},
	Deprovisioning:          {Available, PoweringOffBeforeDelete},
	PoweringOffBeforeDelete: {Deleting},
}

// ledEdges are those that the REST door adds.
var ledEdges = map[State][]State{
	Registering:           {Deprovisioning, Provisioning},
	Inspecting:            {Registering, Deleting},
	Preparing:             {Registering, Deprovisioning, Deleting},
	Available:             {Registering},
	Provisioned:           {Provisioning},
	ExternallyProvisioned: {Provisioning, Deprovisioning},
	Deprovisioning:        {Registering, Provisioning},
}

// Entered lists the states that a host entered on its way from one Step's end to
// another's, the last one included. A state in which there is nothing to do is
// left in the Step that enters it; whoever counts or tells of changes counts it
// nevertheless.
func Entered(before, after Host) []State {
	from, to := before.State, after.State
	if from == to {
		return nil
	}
	if to == Deleting && (before.Detached || after.Detached || after.Wants.Maintenance) {
		return []State{to} // nothing is done to a detached host, nor in maintenance
	}
	led := before.Node.Led() || after.Node.Led()
	type way struct {
		at   State
		path []State
	}
	seen := map[State]bool{from: true}
	for todo := []way{{at: from}}; len(todo) > 0; todo = todo[1:] {
		ways := edges[todo[0].at]
		if led {
			ways = slices.Concat(ways, ledEdges[todo[0].at])
		}
		for _, next := range ways {
			if seen[next] {
				continue
			}
			seen[next] = true
			path := append(append([]State(nil), todo[0].path...), next)
			if next == to {
				return path
			}
			todo = append(todo, way{next, path})
		}
	}
	return []State{to} // a state that somebody else wrote
}
