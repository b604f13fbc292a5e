package quirk

func fujitsu() Vendor {
	return Vendor{
		Name: "Fujitsu",
		Is:   []Sign{{Vendor: "fujitsu*"}, {Vendor: "fsas*"}, {OEM: "ts_fujitsu"}, {Manufacturer: "fujitsu*"}, {Manufacturer: "fsas*"}},
		Quirk: []Entry{{
			Quirk:    ETagRequired,
			Evidence: "iRMC: no capture and no first-hand report found; to send the ETag costs nothing",
			Proof:    Unverified,
		}},
	}
}
