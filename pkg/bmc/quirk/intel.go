package quirk

func intel() Vendor {
	return Vendor{
		Name: "Intel",
		Is:   []Sign{{Vendor: "intel*"}, {OEM: "intel_rackscale"}, {Manufacturer: "intel*"}},
		Note: "System ids are serial numbers, which no code here minds; a build of OpenBMC is known as such.",
		Quirk: []Entry{{
			Quirk:    PushPath,
			Evidence: "Intel's builds of OpenBMC push as OpenBMC does; no record of the machine itself",
			Proof:    Unverified,
		}},
	}
}
