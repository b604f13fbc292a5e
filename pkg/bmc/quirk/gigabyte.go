package quirk

func gigabyte() Vendor {
	return Vendor{
		Name:  "Gigabyte",
		Is:    []Sign{{Vendor: "giga*byte*"}, {OEM: "gbt"}, {Manufacturer: "giga*byte*"}, {Manufacturer: "giga computing*"}},
		Note:  "MegaRAC under its own name.",
		Quirk: megaRAC(),
	}
}
