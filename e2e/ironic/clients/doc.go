// Package clients runs the clients that people have against ingot's Ironic-compatible
// door, unmodified, and writes down which endpoint works with which of them
// (docs/reference/rest-clients.md):
//
//   - the openstack command with python-ironicclient, the whole of its baremetal
//     commands (testdata/cli.txt), and openstacksdk (testdata/sdk.py), from Debian;
//   - the calls that Nova's driver makes, by the same SDK (testdata/nova.py);
//   - gophercloud's own acceptance tests as they are in its module;
//   - Metal3's operator, by the requests that it makes through gophercloud, and
//     Terraform's provider by the requests that it makes: neither program is run.
//
// They need packages of Debian, and so the tag e2e:
//
//	go test -tags e2e ./e2e/ironic/clients
//
// INGOT_REST names a door that runs already, for instance a real Ironic
// (hack/ironic-reference.sh): a suite that fails there is wrong itself.
package clients
