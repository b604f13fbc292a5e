"""What a stock Redfish client does to one machine behind sushy-tools: python3 sushy_journey.py URL USER PASSWORD SYSTEM IMAGE.

Prints one line per step; any exception ends it.
"""
import sys

import sushy

url, user, password, system_id, image = sys.argv[1:6]
root = sushy.Sushy(url, auth=sushy.auth.SessionOrBasicAuth(user, password))
print("connected", root.redfish_version)

system = root.get_system(system_id)
print("system", system.uuid, system.manufacturer, system.name)
print("memory", system.memory_summary.size_gib, "processors", system.processors.summary.count)
print("nics", " ".join(sorted(system.ethernet_interfaces.summary)))
print("power", system.power_state.value)
print("allowed", " ".join(sorted(v.value for v in system.get_allowed_system_boot_source_values())))


def boot():
    system.refresh()
    b = system.boot
    print("boot", b["target"].value, b["enabled"].value, b["mode"].value)


system.set_system_boot_options(sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE,
                               mode=sushy.BootSourceOverrideMode.UEFI)
boot()

media = [m for m in system.managers[0].virtual_media.get_members() if m.identity == "Cd"][0]
media.insert_media(image)
media.refresh()
print("media", media.inserted, media.image)
system.set_system_boot_options(sushy.BootSource.CD, enabled=sushy.BootSourceOverrideEnabled.CONTINUOUS)
boot()

system.reset_system(sushy.ResetType.ON)
system.refresh()
print("power", system.power_state.value)
media.eject_media()
media.refresh()
print("media", media.inserted)
boot()

print("bios", system.bios.attributes["NumCores"])
system.bios.set_attribute("NumCores", "12")
system.bios.refresh()
print("bios", system.bios.attributes["NumCores"])
system.bios.reset_bios()
system.bios.refresh()
print("bios", system.bios.attributes["NumCores"])

print("secure boot", system.secure_boot.enabled)
system.secure_boot.set_enabled(True)
system.secure_boot.refresh()
print("secure boot", system.secure_boot.enabled)

system.set_indicator_led(sushy.IndicatorLED.BLINKING)
system.refresh()
print("light", system.indicator_led.value)
print("chassis", [c.name for c in system.chassis])

system.reset_system(sushy.ResetType.FORCE_OFF)
system.refresh()
print("power", system.power_state.value)
