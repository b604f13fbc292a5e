package main

import (
	"bytes"
	"fmt"
)

// cpio writes the "newc" form that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). Times are zero,
// so that the same input gives the same bytes.
type cpio struct {
	b   bytes.Buffer
	ino int
}

func (c *cpio) entry(name string, mode, major, minor int, data []byte) {
	c.ino++
	fmt.Fprintf(&c.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	c.pad()
	c.b.Write(data)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}

func (c *cpio) dir(name string) { c.entry(name, 0o40755, 0, 0, nil) }

func (c *cpio) file(name string, perm int, data []byte) { c.entry(name, 0o100000|perm, 0, 0, data) }

// console is for what init says before /dev is mounted.
func (c *cpio) console() { c.entry("dev/console", 0o20600, 5, 1, nil) }

func (c *cpio) bytes() []byte {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	return c.b.Bytes()
}
