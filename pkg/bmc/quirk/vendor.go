package quirk

// Vendor is the data of one vendor: how its BMCs are known, and their quirks.
type Vendor struct {
	Name  string // as in the reference: Dell, HPE …
	Is    []Sign // any of them is enough
	Note  string // for the reference, where the data need a word
	Quirk []Entry
}

// Sign is how a BMC shows whose it is: all that is set must fit. Globs are
// matched without regard to case.
type Sign struct {
	Vendor       string // glob over the service root's Vendor
	Product      string // glob over its Product
	RootName     string // glob over its Name
	OEM          string // a key of its Oem, without regard to case
	Manufacturer string // glob over the ComputerSystem's Manufacturer
	ManagerModel string // glob over the Manager's Model
	DeviceID     string // glob over the answer to IPMI's Get Device ID, in hex
}

// Entry says that a vendor's BMCs have a quirk, when, and how that is known.
type Entry struct {
	Quirk    Name
	When     []When // any of them; none: always
	Evidence string
	URL      string
	Proof    Proof
}

// When narrows an Entry: all that is set must fit. What is set and not (yet)
// known of the BMC does not fit; Except does no harm then.
type When struct {
	Model        []string // any glob, over the machine's Model or the root's Product
	Except       []string // no glob, over the same
	ManagerModel []string // any glob
	Unless       []string // no glob over the Manager's Model
	Firmware     Range    // of the BMC
	Redfish      Range    // version of the protocol
}

// Range of versions: From included, Below not. Empty is open.
type Range struct{ From, Below string }

// Proof is how well an Entry is known.
type Proof string

// Proofs.
const (
	// Captured: the resource, or the request and its answer, are on record and
	// were read.
	Captured Proof = "captured"
	// SourceRead: another client's source or release note says so and was read.
	SourceRead Proof = "source read"
	// Unverified: somebody says so.
	Unverified Proof = "unverified"
)

// Vendors lists the data, the generic ones last.
func Vendors() []Vendor {
	return []Vendor{
		dell(), hpe(), lenovo(), supermicro(), ami(), openBMC(), nvidia(), cisco(), nokia(),
		fujitsu(), gigabyte(), asrockRack(), intel(), sushyTools(), pyghmi(), generic(),
	}
}
