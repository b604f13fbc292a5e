package quirk

func asrockRack() Vendor {
	return Vendor{
		Name:  "ASRockRack",
		Is:    []Sign{{Vendor: "asrock*"}, {OEM: "asrock*"}, {Manufacturer: "asrock*"}},
		Note:  "MegaRAC under its own name.",
		Quirk: megaRAC(),
	}
}
