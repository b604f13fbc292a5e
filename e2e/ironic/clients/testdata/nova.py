"""The calls of Nova's ironic driver (nova/virt/ironic/driver.py, 2022 to 2026), in its order."""
import base64
import gzip

import openstack.exceptions as exc
from steps import connect, step

FIELDS = ["uuid", "power_state", "target_power_state", "provision_state", "target_provision_state", "last_error",
          "maintenance", "properties", "instance_uuid", "traits", "resource_class"]
INSTANCE = "7e1f5bc8-0d4f-4a0e-9f0a-1a2b3c4d5e6f"
# Nova builds the drive itself: base64 of a gzipped ISO 9660.
DRIVE = base64.b64encode(gzip.compress(bytes(32768) + b"\x01CD001\x01" + bytes(32761))).decode()
VIF = "0c0c0c0c-0d4f-4a0e-9f0a-1a2b3c4d5e6f"

admin = connect()  # who enrols
node = step("enrol", lambda: admin.create_node(driver="fake-hardware", name="nova-a", resource_class="nova-rc"))
n = node.id if node else "missing"
step("enrol a port", lambda: admin.create_port(node_id=n, address="52:54:00:0a:00:01"))
step("enrol a connector", lambda: admin.create_volume_connector(node_id=n, type="ip", connector_id="192.0.2.7"))
step("enrol: power", lambda: admin.set_node_power_state(n, "power off", wait=True, timeout=30))
for verb, state in (("manage", "manageable"), ("provide", "available")):
    step("enrol: " + verb, lambda: admin.set_node_provision_state(n, verb, wait=True, timeout=30), lambda x: x.provision_state == state)

b = connect()
b.default_microversion = "1.46"
NOT_FOUND = (exc.ResourceNotFound, exc.NotFoundException)


def listed(x):
    return x.provision_state == "available" and x.instance_id is None and x.traits == []


step("nodes: the resource cache", lambda: [x for x in b.nodes(fields=FIELDS) if x.id == n][0], listed)
step("nodes: by conductor group", lambda: list(b.nodes(conductor_group="", fields=FIELDS)), lambda v: len(v) > 0)
step("get_node", lambda: b.get_node(n, fields=FIELDS), listed)
step("get_node: gone", lambda: b.get_node("nova-none", fields=FIELDS), refused=NOT_FOUND)
step("nodes: by instance, none yet", lambda: list(b.nodes(instance_id=INSTANCE, fields=FIELDS)), lambda v: v == [])
step("update_node: takes it", lambda: b.update_node(n, retry_on_conflict=False, instance_id=INSTANCE),
     lambda x: x.instance_id == INSTANCE)
step("patch_node: instance_info", lambda: b.patch_node(n, [
    {"op": "add", "path": "/instance_info/image_source", "value": "http://192.0.2.1/image"},
    {"op": "add", "path": "/instance_info/root_gb", "value": "10"},
    {"op": "add", "path": "/instance_info/capabilities", "value": "{}"},
    {"op": "add", "path": "/instance_info/display_name", "value": "vm"},
    {"op": "add", "path": "/instance_info/vcpus", "value": "1"},
    {"op": "add", "path": "/instance_info/memory_mb", "value": "1024"},
    {"op": "add", "path": "/instance_info/local_gb", "value": "10"},
    {"op": "add", "path": "/instance_info/nova_host_id", "value": "compute"}]),
    lambda x: x.instance_info["root_gb"] == "10")
step("nodes: by instance", lambda: [x.id for x in b.nodes(instance_id=INSTANCE, fields=FIELDS)], lambda v: v == [n])
step("volume_connectors", lambda: list(b.volume_connectors(details=True, node=n)), lambda v: len(v) == 1)
target = step("create_volume_target", lambda: b.create_volume_target(
    node_id=n, volume_type="iscsi", boot_index=0, volume_id="vol", properties={"target_lun": 1}))
step("volume_targets", lambda: list(b.volume_targets(details=True, node=n)), lambda v: len(v) == 1)
step("delete_volume_target", lambda: b.delete_volume_target(target.id))
step("ports", lambda: [(p.address, p.is_pxe_enabled, p.port_group_id) for p in b.ports(node=n, details=True)],
     lambda v: v == [("52:54:00:0a:00:01", True, None)])
step("port_groups", lambda: list(b.port_groups(node=n, details=True)), lambda v: v == [])
step("attach_vif_to_node", lambda: b.attach_vif_to_node(n, VIF))
step("list_node_vifs", lambda: b.list_node_vifs(n))
step("validate_node", lambda: b.validate_node(n, required=None),
     lambda v: v["deploy"].result and v["power"].result and v["storage"].result)
step("set_node_provision_state: active", lambda: b.set_node_provision_state(
    n, "active", config_drive=DRIVE))
step("it becomes active", lambda: b.wait_for_nodes_provision_state([n], "active", timeout=30), lambda v: v[0].instance_id == INSTANCE)
step("set_node_power_state: soft off", lambda: b.set_node_power_state(n, "soft power off"))
step("it is off", lambda: b.wait_for_node_power_state(n, "power off", timeout=30))
step("set_node_power_state: on", lambda: b.set_node_power_state(n, "power on"))
step("it is on", lambda: b.wait_for_node_power_state(n, "power on", timeout=30))
step("set_node_power_state: reboot", lambda: b.set_node_power_state(n, "rebooting"))
step("it is on again", lambda: b.wait_for_node_power_state(n, "power on", timeout=30))
for name, method, path, body in (
        ("enable console", "put", "/states/console", {"enabled": True}),
        ("get console", "get", "/states/console", None),
        ("disable console", "put", "/states/console", {"enabled": False})):
    step(name, lambda: b.request("/nodes/" + n + path, method.upper(), json=body, microversion="1.46"),
         lambda r: r.status_code < 300)
step("inject_nmi: not by this driver", lambda: b.request("/nodes/" + n + "/management/inject_nmi", "PUT", json={}, microversion="1.46"),
     lambda r: r.status_code == 400)
step("rescue", lambda: b.set_node_provision_state(n, "rescue", rescue_password="secret", wait=True, timeout=30))
step("unrescue", lambda: b.set_node_provision_state(n, "unrescue"))
step("it is active", lambda: b.wait_for_nodes_provision_state([n], "active", timeout=30), lambda v: v[0].id == n)
step("rebuild", lambda: b.set_node_provision_state(n, "rebuild", wait=True, timeout=30))
step("set_node_provision_state: deleted", lambda: b.set_node_provision_state(n, "deleted"))
step("it becomes available", lambda: b.wait_for_nodes_provision_state([n], "available", timeout=30),
     lambda v: not v[0].instance_id)
step("detach_vif_from_node", lambda: b.detach_vif_from_node(n, VIF, ignore_missing=True))
step("patch_node: lets it go", lambda: b.patch_node(n, [{"op": "remove", "path": "/instance_info"}]))
step("delete it", lambda: admin.delete_node(n))
