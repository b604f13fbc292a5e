"""A BMC made of the real pyghmi, with the methods of VirtualBMC over a pretended domain.

python3 reference.py PORT USER PASSWORD [off|on]

VirtualBMC (openstack/virtualbmc 04d9588, virtualbmc/vbmc.py) is a subclass of
pyghmi.ipmi.bmc.Bmc with eight methods; here they act on two attributes in place
of libvirt. Prints "ready" when it listens.
"""
import sys

import pyghmi.ipmi.bmc as bmc

GET = {"network": 4, "hd": 8, "cdrom": 0x14}
SET = {"network": "network", "hd": "hd", "optical": "cdrom"}


class Reference(bmc.Bmc):
    def __init__(self, port, user, password, on):
        self.on = on
        self.defined = "hd"
        self.live = "hd"
        super().__init__({user: password}, port=port, address="127.0.0.1")

    def get_boot_device(self):
        # domain.XMLDesc() without a flag: of a running domain, what it runs with.
        return GET.get(self.live if self.on else self.defined, 0)

    def set_boot_device(self, bootdevice):
        device = SET.get(bootdevice)
        if device is None:
            return 0xCC
        self.defined = device

    def get_power_state(self):
        return 1 if self.on else 0

    def pulse_diag(self):
        pass

    def power_off(self):
        self.on = False

    def power_on(self):
        if not self.on:
            self.on, self.live = True, self.defined

    def power_shutdown(self):
        self.on = False

    def power_reset(self):
        pass


server = Reference(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:] == ["on"])
print("ready", flush=True)
server.listen()
