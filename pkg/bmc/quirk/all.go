package quirk

// Info is what people read of a quirk.
type Info struct {
	Name  Name
	Title string // what the BMC does
	Does  string // what we do about it
}

// All lists every quirk, once, in the order of the reference.
func All() []Info {
	return []Info{
		{NoSessions, "no sessions", "log in with Basic authentication on every request"},
		{NoKeepAlive, "cuts reused connections", "use a connection for one request"},
		{OnePerSecond, "bears one request a second", "send no more than that"},
		{ETagRequired, "refuses a PATCH without If-Match", "send the ETag that was read last, or * where there is none"},
		{ETagLadder, "refuses its own ETags", "try the ETag as sent, strong, unquoted, *, and none"},
		{PostBusy, "refuses writes while the machine is in POST", "wait and try again"},
		{PowerConflict, "answers 409 to On just after Off", "wait and try again"},
		{TrailingSlash, "wants the slash at the end of a URI", "keep the URI as the BMC wrote it, or end it with a slash"},
		{GzipRegistry, "answers 406 for a registry asked without gzip", "ask for that registry with gzip"},

		{MediaPatch, "has virtual media without actions", "PATCH Image, Inserted and WriteProtected of an EXTn slot"},
		{MediaMinimalBody, "refuses Inserted and WriteProtected", "insert with nothing but Image"},
		{MediaTransfer, "wants a transfer protocol, method or credentials", "add what the refusal names, one for each try"},
		{EjectEmptyObject, "ejects only with a body", "POST {} to EjectMedia"},
		{MediaOnSystem, "has its virtual media below the system", "look there first"},
		{MediaFirstSlot, "boots from the first slot only", "use slot 1"},
		{MediaStale, "says Inserted where nothing is", "eject all, insert always, try again on 5xx"},
		{MediaSkipSlot, "has slots that refuse, or say nothing of their type", "try the next; NotConnected counts as empty"},
		{MediaPlainURL, "takes plain image URLs only", "give a URL that ends in .iso and has no ? and no ="},
		{MediaOffToEject, "ejects only from a machine that is off", "power off before the eject"},
		{MediaFileName, "shows the name of a file for its image", "insert always, and take any name for the image"},
		{CDIsUSBCD, "calls its virtual CD UsbCd", "boot from UsbCd where CD is meant"},
		{DellVirtualCDBoot, "boots the virtual CD by an OEM call alone", "set ServerBoot of the iDRAC's attributes"},

		{BootViaSettings, "takes boot overrides at its settings object", "PATCH there first"},
		{BootFullBody, "wants mode, enabled and target together", "send all three"},
		{BootAlwaysEnabled, "forgets how long an override lasts", "send BootSourceOverrideEnabled with every write"},
		{BootMinimalBody, "cannot change the boot mode", "leave BootSourceOverrideMode out"},
		{NoContinuous, "overrides once only", "set the override again before every power-on"},
		{OnlyContinuous, "keeps every override, and knows no None", "set it for good; boot from the disk where none is meant"},
		{BootModeFlips, "changes the boot mode with the target", "read it back and write it again"},
		{NoBootWrite, "loses the UEFI boot order when it is written to", "write none once the agent has set UEFI's own"},

		{BIOSApplyTime, "stages BIOS settings only with an apply time", "send @Redfish.SettingsApplyTime"},
		{BIOSResetBody, "resets the BIOS only with a body", "POST {} to ResetBios"},
		{BIOSPath, "has its BIOS at …/BIOS", "look there where the system links to none"},
		{TaskVanishes, "answers 404 for a task that is over, or not yet there", "decide by the resource itself"},
		{TaskInBody, "names its task in the body", "read it there where Location is missing"},
		{AcceptedNoLocation, "accepts and names no task", "decide by the resource itself"},
		{ContentLength, "takes no chunked upload", "send Content-Length"},
		{PushPath, "has an upload path of its own", "push where HttpPushUri or MultipartHttpPushUri says, in the vendor's way"},
		{FirmwareMultipart, "has no SimpleUpdate", "push the image"},
		{OneTask, "has one task for everything", "decide by the resource itself"},

		{AccountSlots, "makes no accounts, but has empty ones", "PATCH an empty slot after the first; blank the name to delete"},
		{EventDuplicate, "refuses a second subscription for a destination", "find the first and keep it"},
		{EventNoRetry, "does not know DeliveryRetryPolicy", "leave it out"},
		{EventNoContext, "drops or refuses an empty Context", "send one that is not empty, and do not count on it"},
		{HostSystem, "shows systems that are no hosts", "take the one with a reset action"},
		{SerialIsSKU, "has the serial number in SKU", "take it from there"},
		{ShortPassword, "keeps less of a password than it takes", "refuse one longer than 20 characters"},
		{NoManufacturer, "leaves Manufacturer blank", "take the service root's Vendor"},
		{IndicatorBlinks, "has its light lit as a rule, and blinking to be found", "blink where lit is meant, and lit where dark"},

		{IPMIUEFIDisk, "wants selector 0x24 for a UEFI disk", "send 0x24 in boot parameter 5"},
		{IPMIBootTimer, "refuses to disable the 60 s boot timer", "leave the timer alone"},
		{IPMIPlainBoot, "keeps a boot device, and neither how long, nor a mode, nor none", "compare the device alone; boot from the disk where none is meant"},
		{IPMINoCycle, "has no power cycle", "switch off, wait, and switch on"},
	}
}

// Known reports whether there is a quirk of that name.
func Known(n Name) bool {
	for _, i := range All() {
		if i.Name == n {
			return true
		}
	}
	return false
}
