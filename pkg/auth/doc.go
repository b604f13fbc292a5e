// Package auth proves who is at a door. At the HTTPS door: agents by certificates of
// our own authority, people and programs by what they show the Kubernetes API. At the
// REST door: by a password file (Basic), a Keystone's tokens (Keystone), or the
// cluster's (Reviews). What is found out is kept for a while, the secret never.
package auth
