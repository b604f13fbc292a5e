"""What a stock Redfish client does to one machine: python3 sushy_journey.py URL USER PASSWORD SYSTEM.

Connects with a session and with basic authentication, reads all that Ironic's
Redfish driver reads, sets the boot device, switches power, uses virtual media, and
prints one line per step; any exception ends it.
"""
import sys

import sushy

url, user, password, system_id = sys.argv[1:5]


def words(*values):
    """The values, enumerations by what is on the wire."""
    return " ".join("-" if v is None else str(getattr(v, "value", v)) for v in values)


def walk(root):
    system = root.get_system(system_id)
    yield "system", system.uuid, system.manufacturer, system.name
    yield "processors", *system.processors.summary
    for cpu in system.processors.get_members():
        yield " ", cpu.identity, cpu.instruction_set, cpu.total_cores, cpu.total_threads, cpu.model
    yield "memory", system.memory_summary.size_gib, system.memory_summary.health
    yield "nics", *sorted(mac + "=" + state.value for mac, state in system.ethernet_interfaces.summary.items())
    yield "storage", system.storage.drives_sizes_bytes, system.storage.max_drive_size_bytes
    for drive in system.storage.get_members()[0].drives:
        yield (" ", drive.name, drive.capacity_bytes, drive.protocol, drive.media_type,
               drive.manufacturer, drive.model, drive.serial_number)
    yield "simple storage", system.simple_storage.disks_sizes_bytes
    for device in system.simple_storage.get_members()[0].devices:
        yield " ", device.name, device.status.state, device.status.health
    for chassis in system.chassis:
        yield "chassis", chassis.chassis_type, chassis.serial_number
    for manager in system.managers:
        yield "manager", manager.manager_type, manager.firmware_version, "of", *(s.identity for s in manager.systems)
        for media in manager.virtual_media.get_members():
            yield "media", media.identity, *media.media_types
    yield "power", system.power_state
    yield "boot", system.boot["target"], system.boot["enabled"], system.boot["mode"]
    yield "not there:", *missing({
        "system.bios": lambda: system.bios,
        "system.secure_boot": lambda: system.secure_boot,
        "storage.volumes": lambda: system.storage.volumes_sizes_bytes,
        "root.update_service": root.get_update_service,
        "root.task_service": root.get_task_service,
    })


def missing(reads):
    """Names of what sushy says that the BMC does not have, which Ironic can live with."""
    for name, read in reads.items():
        try:
            read()
        except sushy.exceptions.MissingAttributeError:
            yield name


root = sushy.Sushy(url, auth=sushy.auth.SessionAuth(user, password))
print("connected", root.redfish_version)
seen = [words(*line) for line in walk(root)]
print("\n".join(seen))

basic = sushy.Sushy(url, auth=sushy.auth.BasicAuth(user, password))
if [words(*line) for line in walk(basic)] == seen:
    print("basic authentication sees the same")

subscription = root.get_event_service().subscriptions.create(
    {"Destination": "http://192.0.2.1/", "Protocol": "Redfish", "EventTypes": ["Alert"], "Context": "x"})
print("subscriptions", len(root.get_event_service().subscriptions.members_identities))
subscription.delete()
print("subscriptions", len(root.get_event_service().subscriptions.members_identities))

system = root.get_system(system_id)
system.set_system_boot_options(sushy.BootSource.PXE,
                               enabled=sushy.BootSourceOverrideEnabled.ONCE,
                               mode=sushy.BootSourceOverrideMode.UEFI)
system.refresh()
print("boot", words(system.boot["target"], system.boot["enabled"], system.boot["mode"]))

system.reset_system(sushy.ResetType.ON)
system.refresh()
print("power", words(system.power_state))
print("boot", words(system.boot["target"], system.boot["enabled"]))

media = system.managers[0].virtual_media.get_members()[0]
media.insert_media("http://192.0.2.1/boot.iso")
media.refresh()
print("media", media.inserted, media.image)
media.eject_media()
media.refresh()
print("media", media.inserted)

system.reset_system(sushy.ResetType.FORCE_OFF)
system.refresh()
print("power", words(system.power_state))

try:
    sushy.Sushy(url, auth=sushy.auth.BasicAuth(user, "wrong")).get_system(system_id)
except sushy.exceptions.AccessError:
    print("refused")
