// Package auth proves who is at the HTTPS door: agents by certificates of our
// own authority, people and programs by what they show the Kubernetes API.
package auth
