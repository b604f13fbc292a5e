// Package kubeapi is a Kubernetes API in one process: etcd on a Unix socket, the
// API server, and the controllers without which an API is not one (namespaces,
// garbage collection, service accounts, the root CA, aggregated roles). kubectl,
// Cluster API's managers and our own controllers see no difference to a cluster,
// but that there are no pods, nodes, services or workloads.
//
// What a caller owes:
//
//   - Call [RouteLogs] once, early: klog is one per process.
//   - Stop its own controllers before [Server.Stop], or their watches are cut.
//   - End the process when [Server.Done] closes without Stop having been called.
//   - Set the process's memory limit (runtime/debug.SetMemoryLimit) near 0.6 of
//     what it may use: the mapped binary comes on top of the heap.
//
// A data directory belongs to one process at a time. Everything in it survives a
// kill at any moment. It holds
//
//	lock        the pid of the process that uses it
//	kubeconfig  the administrator's way in, context "ingot"
//	pki/        our CA, certificates, and the key that Secrets are encrypted with
//	etcd/       the objects
//
// This is the only package that links k8s.io/kubernetes and etcd's server.
package kubeapi
