// Package deploy runs the custom deploy methods of a ramdisk: programs that its
// builder put into one fixed directory. Nothing from the network becomes a path or
// passes through a shell; a method gets its disk, checked as for a write, and
// what it needs as files that nobody else reads; its time and what is kept of its
// output are bounded, and nothing of it outlives the step.
package deploy
