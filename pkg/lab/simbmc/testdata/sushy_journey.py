"""What a stock Redfish client does to one machine: python3 sushy_journey.py URL USER PASSWORD SYSTEM.

Connects with a session, reads the system, sets the boot device, switches power,
uses virtual media, and prints one line per step; any exception ends it.
"""
import sys

import sushy

url, user, password, system_id = sys.argv[1:5]
root = sushy.Sushy(url, auth=sushy.auth.SessionAuth(user, password))
print("connected", root.redfish_version)

system = root.get_system(system_id)
print("system", system.uuid, system.manufacturer, system.name)
print("memory", system.memory_summary.size_gib)
print("nics", " ".join(sorted(system.ethernet_interfaces.summary)))
print("power", system.power_state.value)

system.set_system_boot_options(sushy.BootSource.PXE,
                               enabled=sushy.BootSourceOverrideEnabled.ONCE,
                               mode=sushy.BootSourceOverrideMode.UEFI)
system.refresh()
print("boot", system.boot["target"].value, system.boot["enabled"].value, system.boot["mode"].value)

system.reset_system(sushy.ResetType.ON)
system.refresh()
print("power", system.power_state.value)
print("boot", system.boot["target"].value, system.boot["enabled"].value)

manager = root.get_manager(root.get_manager_collection().members_identities[0])
media = manager.virtual_media.get_members()[0]
media.insert_media("http://192.0.2.1/boot.iso")
media.refresh()
print("media", media.inserted, media.image)
media.eject_media()
media.refresh()
print("media", media.inserted)

system.reset_system(sushy.ResetType.FORCE_OFF)
system.refresh()
print("power", system.power_state.value)

basic = sushy.Sushy(url, auth=sushy.auth.BasicAuth(user, password))
print("basic", basic.get_system(system_id).power_state.value)
try:
    sushy.Sushy(url, auth=sushy.auth.BasicAuth(user, "wrong")).get_system(system_id)
except sushy.exceptions.AccessError:
    print("refused")
