package quirk

import "slices"

// Name of a quirk. Operators type it to force or to forbid it.
type Name string

// The quirks.
const (
	// Sessions, transport.
	NoSessions    Name = "no-sessions"     // has no SessionService: Basic
	NoKeepAlive   Name = "no-keep-alive"   // cuts reused connections
	OnePerSecond  Name = "one-per-second"  // a request a second is all it bears
	ETagRequired  Name = "etag-required"   // 412 or 428 without If-Match
	ETagLadder    Name = "etag-ladder"     // weak, -gzip or empty ETags: as sent, strong, unquoted, *, none
	PostBusy      Name = "post-busy"       // 400 InvalidOperationForSystemState, SYS518 while in POST: wait
	PowerConflict Name = "power-conflict"  // 409 to On just after Off: wait
	TrailingSlash Name = "trailing-slash"  // URIs need their slash
	GzipRegistry  Name = "gzip-registries" // 406 for a registry asked without gzip

	// Virtual media.
	MediaPatch        Name = "vmedia-patch"            // no actions: PATCH Image, Inserted, WriteProtected; EXTn slots
	MediaMinimalBody  Name = "vmedia-minimal-body"     // neither Inserted nor WriteProtected
	MediaTransfer     Name = "vmedia-transfer"         // wants TransferProtocolType, TransferMethod or credentials
	EjectEmptyObject  Name = "eject-empty-object"      // EjectMedia wants {}
	MediaOnSystem     Name = "vmedia-on-system"        // VirtualMedia below the system
	MediaFirstSlot    Name = "vmedia-first-slot"       // slot 1 only
	MediaStale        Name = "vmedia-stale-inserted"   // says Inserted and is not: eject all, insert always
	MediaSkipSlot     Name = "vmedia-skip-slot"        // a slot that refuses: try the next
	MediaPlainURL     Name = "vmedia-plain-url"        // .iso at the end, no ? and no =
	MediaOffToEject   Name = "vmedia-off-before-eject" // ejects only from a machine that is off
	MediaFileName     Name = "vmedia-shows-file-name"  // shows the name of a file, which need not be the URL's
	CDIsUSBCD         Name = "cd-is-usbcd"             // boot target UsbCd
	DellVirtualCDBoot Name = "dell-oem-vcd-boot"       // boots virtual CD by an OEM call alone

	// Boot.
	BootViaSettings   Name = "boot-via-settings"   // override at the settings object
	BootFullBody      Name = "boot-full-body"      // mode, enabled and target together
	BootAlwaysEnabled Name = "boot-always-enabled" // enabled with every write
	BootMinimalBody   Name = "boot-minimal-body"   // mode is read-only
	NoContinuous      Name = "no-continuous"       // Once at every power-on instead
	OnlyContinuous    Name = "only-continuous"     // every override lasts, and there is no None
	BootModeFlips     Name = "boot-mode-flips"     // mode changes with the target: read back, write again
	NoBootWrite       Name = "no-boot-write"       // no order once the agent has set UEFI's own

	// BIOS, firmware.
	BIOSApplyTime      Name = "bios-apply-time"    // wants an ApplyTime
	BIOSResetBody      Name = "bios-reset-body"    // ResetBios wants {}
	BIOSPath           Name = "bios-path"          // BIOS at …/BIOS
	TaskVanishes       Name = "fw-task-vanishes"   // 404 for a task that is over
	TaskInBody         Name = "fw-task-in-body"    // task in the body, not in Location
	AcceptedNoLocation Name = "fw-202-no-location" // 202 and no task at all
	ContentLength      Name = "fw-content-length"  // no chunked uploads
	PushPath           Name = "fw-push-path"       // a vendor's own upload path
	FirmwareMultipart  Name = "fw-multipart-only"  // no SimpleUpdate
	OneTask            Name = "one-task"           // one task for everything (sushy-tools)

	// Accounts, events, facts.
	AccountSlots    Name = "account-slots"         // 405 to POST: PATCH an empty slot
	EventDuplicate  Name = "event-duplicate"       // refuses a second subscription: find the first
	EventNoRetry    Name = "event-no-retry-policy" // knows no DeliveryRetryPolicy
	EventNoContext  Name = "event-no-context"      // drops or refuses an empty Context
	HostSystem      Name = "host-system"           // several systems, one is the host
	SerialIsSKU     Name = "serial-is-sku"
	ShortPassword   Name = "short-password" // the BMC's limit is below what it says, or unsaid
	NoManufacturer  Name = "no-manufacturer"
	IndicatorBlinks Name = "indicator-blinks" // Lit is the normal state, blinking is lit

	// IPMI.
	IPMIUEFIDisk  Name = "ipmi-uefi-disk-0x24"    // UEFI disk is selector 0x24
	IPMIBootTimer Name = "ipmi-keep-boot-timer"   // refuses to disable the 60 s timer
	IPMIPlainBoot Name = "ipmi-plain-boot-device" // a boot device that lasts, and no more: no mode, no None
	IPMINoCycle   Name = "ipmi-no-cycle"          // CCh to a power cycle
)

// Set is the quirks of one BMC.
type Set map[Name]bool

// Has reports whether the BMC has the quirk.
func (s Set) Has(n Name) bool { return s[n] }

// Names lists the quirks of the Set in alphabetical order.
func (s Set) Names() []Name {
	names := make([]Name, 0, len(s))
	for n, has := range s {
		if has {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}
