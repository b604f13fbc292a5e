package explain

// rest is the answer for a host in a state with nothing wrong: what it does, what
// it waits for, what a person may do, and what comes next.
type rest struct {
	doing, waits string
	do           []string
	next         string
}

// nobody is the answer where work should be going on but none is on record.
func nobody(next string) rest {
	return rest{
		doing: "no work is on record yet",
		waits: "ingot serve or ingot manager to take it up",
		do:    []string{"if this lasts longer than a minute, see that ingot serve or ingot manager is running"},
		next:  next,
	}
}

// restOf reads the state. The states are Metal3's; one that is not known here is
// shown as it is.
func restOf(in Input) rest {
	if in.Deleting && in.State != "deprovisioning" {
		return rest{doing: "being deleted", waits: "the machine to be let go", next: "the object disappears"}
	}
	switch in.State {
	case "":
		if in.NoBMC {
			return unmanaged(in)
		}
		return nobody("registering")
	case "unmanaged":
		return unmanaged(in)
	case "registering":
		return working(in, "reading the machine's BMC", "the BMC to answer", "inspecting")
	case "inspecting":
		return working(in, "booting the agent, which reads the hardware", "the agent to report", "preparing")
	case "preparing", "match profile":
		return working(in, "erasing old metadata from the disks", "the agent to finish", "available")
	case "available", "ready":
		return available(in)
	case "provisioning":
		return working(in, "writing the image to the disk", "the agent to finish", "provisioned")
	case "provisioned", "externally provisioned":
		return settled(in)
	case "deprovisioning":
		return working(in, "taking the machine back and cleaning its disks", "the agent to finish", "available")
	case "powering off before delete":
		return working(in, "switching the machine off before it is let go", "the BMC to report it off", "deleting")
	case "deleting":
		return working(in, "letting the machine go", "what belongs to it to be removed", "the object disappears")
	default:
		return rest{doing: clean(in.State), waits: "its controller", next: "depends on its controller"}
	}
}

func unmanaged(in Input) rest {
	return rest{
		doing: "nothing",
		waits: "a BMC address and credentials",
		do:    []string{"set spec.bmc.address and spec.bmc.credentialsName of " + in.Host},
		next:  "registering",
	}
}

func working(in Input, doing, waits, next string) rest {
	if in.Operation == nil && in.Problem == nil && in.WaitsFor == "" {
		r := nobody(next)
		r.doing = doing
		return r
	}
	return rest{doing: doing, waits: waits, next: next}
}

func available(in Input) rest {
	switch {
	case in.Image != "" && !in.Online:
		return rest{
			doing: "nothing",
			waits: "spec.online: true (a host that is to be off is not provisioned)",
			do:    []string{"ingot power on " + in.Host},
			next:  "provisioning",
		}
	case in.Image != "":
		return nobody("provisioning")
	default:
		return rest{
			doing: "nothing: ready to be used",
			waits: "an image",
			do:    []string{"ingot provision " + in.Host + " --image URL --checksum SHA256"},
			next:  "provisioning",
		}
	}
}

func settled(in Input) rest {
	want := "off"
	if in.Online {
		want = "on"
	}
	if in.Power != "" && in.Power != want {
		return rest{
			doing: "switching the machine " + want,
			waits: "the BMC to report it " + want,
			next:  in.State + ", " + want,
		}
	}
	r := rest{doing: "nothing: the machine is in use", waits: "nothing", next: "nothing, until the host is changed"}
	if in.Power != "" {
		r.doing = "nothing: the machine is in use and " + in.Power
	}
	return r
}
