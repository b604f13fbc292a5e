// Package sushytools answers Redfish exactly as the dynamic emulator of
// sushy-tools does over libvirt, which Ironic's and Metal3's developers put in
// front of their virtual machines, so that ingot can be tested against it where
// it is not to be had. A machine is a [simbmc.Body].
//
// The emulator departs from the standard in ways that a driver must bear: there
// are no sessions and no ETags; an override is always Continuous and cannot be
// taken back; a reset that it does not know, or of a machine that is off, is
// answered with success and not carried out; settings are in force at once; the
// image of a drive is a file name and not the URL; one task, number 42, is over
// before it begins; and error bodies may be no JSON.
//
// Each answer names the function that gives it in openstack/sushy-tools. Stored
// copies of it carry no line numbers, so functions and templates stand for lines:
//
//	main       0124ed26aa0c8ccb33934105274434d7aa3c44e3 sushy_tools/emulator/main.py
//	systems    c4fb8531f97ca0405fe5375ab764223c0c9f11e1 …/resources/systems/libvirtdriver.py
//	vmctl      a654a033dece53b8e6eb005025e37643d61144a5 …/controllers/virtual_media.py
//	vmctl-old  05a1bedf9320cebc592de73fc4372b4a9c0fc00d the same, below Managers
//	vmedia     0051bd4be05ee11f8033a744a04c106a24045518 …/resources/vmedia.py
//	update     57e560f76a198c3d6388ec0ef33f2780d4611aa5 …/controllers/update_service.py
//	managers   44c6662a6dc6915c8ad57ee50e64066f600e2d09 …/resources/managers.py
//	chassis    c5b99058b2359983f8e1846a2d80be48bc72fae5 …/resources/chassis.py, drives.py, storage.py
//	volumes    c1f102ce3c001790976c38e5611d674bb4bff849 …/resources/volumes.py
//	indicators 428b213dc1fcfa29f5a30a1f56f82912d6c6b24a …/resources/indicators.py
//	auth       ef58421ba85445bc15c2642df21f30fdf000d5e2 …/auth_basic.py
//	utils      05a1bedf9320cebc592de73fc4372b4a9c0fc00d …/api_utils.py
//	error      aece5508c6f07b3d25922dddb5c7ff66d32b31b8 sushy_tools/error.py
//
// Templates (…/templates/NAME.json) are named with the first digits of their own
// commit. "virsh" is virsh(1), "define": "If the domain is already running, the
// changes will take effect on the next boot"; "werkzeug" and "flask" are Debian's
// python3-werkzeug 2.2.2-3 and python3-flask 2.2.2-3.
//
// What was not read is not answered: 501 with the code [NotReproduced], which the
// emulator never sends.
package sushytools
