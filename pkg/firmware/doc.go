// Package firmware decides what is to be changed about a machine's firmware
// settings, firmware and RAID volumes, and says it the way Metal3 does: it turns
// what a BMC told into the status of HostFirmwareSettings, FirmwareSchema and
// HostFirmwareComponents, holds what is declared against it, and names the next
// single change. It reads nothing and writes nothing.
package firmware
