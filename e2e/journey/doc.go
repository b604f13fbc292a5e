// Package journey takes simulated machines through the whole service in one
// process: the embedded Kubernetes API, the controllers, the doors, and BMCs and
// agents that speak their real wire.
//
// Each test causes one thing that operators meet, reads the answer as a person
// would (`ingot explain`), asks the lab's own journal what was done to disks and
// power, mends the cause, and sees the host go on.
package journey
