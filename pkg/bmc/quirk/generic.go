package quirk

// generic is for a BMC that shows no sign of a known vendor: what costs nothing
// on a BMC that keeps to the standard, because only its refusal starts it.
func generic() Vendor {
	const sushyNotes = "https://opendev.org/openstack/sushy/src/branch/master/releasenotes/notes/"
	return Vendor{
		Name: "generic",
		Note: "For BMCs of no vendor above: only what costs nothing on a BMC that keeps to the standard.",
		Quirk: []Entry{
			{
				Quirk:    ETagLadder,
				Evidence: "starts at a 412 or 428; sushy, release notes fix-return-full-weak-etag and fix-missing-etags, keeps both spellings for vendors it does not name",
				URL:      sushyNotes + "fix-return-full-weak-etag-04265472cbea9c0e.yaml", Proof: SourceRead,
			}, {
				Quirk:    PostBusy,
				Evidence: "starts at an answer that says so",
				Proof:    Unverified,
			}, {
				Quirk:    PowerConflict,
				Evidence: "starts at a 409",
				Proof:    Unverified,
			}, {
				Quirk:    MediaPatch,
				Evidence: "starts at a slot without actions; sushy, release note fix-virtual-media-fallback",
				URL:      sushyNotes + "fix-virtual-media-fallback-15a559414a65c014.yaml", Proof: SourceRead,
			}, {
				Quirk:    MediaTransfer,
				Evidence: "starts at a refusal that names the parameter; sushy, virtual_media.py insert_media",
				URL:      "https://opendev.org/openstack/sushy/src/branch/master/sushy/resources/manager/virtual_media.py", Proof: SourceRead,
			}, {
				Quirk:    EjectEmptyObject,
				Evidence: "an action without parameters may be sent {} (DSP0266, POST action); sushy, release note fix-eject-media-empty-dict",
				URL:      sushyNotes + "fix-eject-media-empty-dict-573b4c9e06f52ce7.yaml", Proof: SourceRead,
			}, {
				Quirk:    MediaSkipSlot,
				Evidence: "starts at a slot that refuses",
				Proof:    Unverified,
			}, {
				Quirk:    BIOSResetBody,
				Evidence: "an action without parameters may be sent {} (DSP0266, POST action); sushy, release note fix-2008198",
				URL:      sushyNotes + "fix-2008198-bios-factory-reset-400-bad-request-3f4a7a2aada0835b.yaml", Proof: SourceRead,
			}, {
				Quirk:    TaskVanishes,
				Evidence: "starts at a 404 for a task; CompletedTaskOverWritePolicy is Oldest in the recorded SR670 V2 and OpenBMC 2.15: a task that is over may go at any time",
				Proof:    Captured,
			}, {
				Quirk:    TaskInBody,
				Evidence: "starts at an answer without Location whose body is a Task",
				Proof:    Unverified,
			}, {
				Quirk:    AcceptedNoLocation,
				Evidence: "starts at a 202 without Location",
				Proof:    Unverified,
			}, {
				Quirk:    AccountSlots,
				Evidence: "starts at a 405 to the POST of an account; DMTF/Redfishtool #7 describes it for BMCs with IPMI's fixed slots",
				URL:      "https://github.com/DMTF/Redfishtool/issues/7", Proof: SourceRead,
			}, {
				Quirk:    EventDuplicate,
				Evidence: "the subscriptions are read before one is made",
				Proof:    Unverified,
			}, {
				Quirk:    EventNoContext,
				Evidence: `sushy, release note allow_empty_context: "some BMCs do not report Context when the subscription is created with empty string"`,
				URL:      sushyNotes + "allow_empty_context_eventdestination-9a96c34dd7edbeca.yaml", Proof: SourceRead,
			}, {
				Quirk:    HostSystem,
				Evidence: "matters only where there are several systems",
				Proof:    Unverified,
			}, {
				Quirk:    NoManufacturer,
				Evidence: "matters only where Manufacturer is blank",
				Proof:    Unverified,
			},
		},
	}
}
