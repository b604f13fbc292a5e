// Package bare is what an init needs on a bare kernel, without any other
// program: mounts, modules by the devices that ask for them, a console that
// people can read, the power button, and the way out. The agent's ramdisk and
// the demo image share it.
package bare
