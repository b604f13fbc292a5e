package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Environment of credentials. They are never taken from the command line, which
// other users of the machine can read.
const (
	envBMCUsername = "INGOT_BMC_USERNAME"
	envBMCPassword = "INGOT_BMC_PASSWORD" //nolint:gosec // the name of a variable
)

// maxSecret bounds a password's file: no BMC takes more than some dozen bytes.
const maxSecret = 4096

// bmcCredentials are the user name given, or of the environment; and the password
// of the file given, of the environment, or typed unseen.
func (a *App) bmcCredentials(username, passwordFile string) (bmc.Credentials, error) {
	creds := bmc.Credentials{Username: username}
	if creds.Username == "" {
		creds.Username = a.Env(envBMCUsername)
	}
	if creds.Username == "" {
		return creds, Usage("who logs in? give --username, or %s", envBMCUsername)
	}
	if passwordFile != "" {
		var err error
		creds.Password, err = readSecret(passwordFile)
		return creds, err
	}
	if creds.Password = a.Env(envBMCPassword); creds.Password != "" {
		return creds, nil
	}
	in, ok := a.In.(*os.File)
	if !a.Terminal || !ok {
		return creds, Usage("the password is missing: give --password-file, or %s", envBMCPassword)
	}
	fmt.Fprintf(a.Err, "Password of %s: ", oneLine(creds.Username))
	typed, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.Err)
	creds.Password = string(typed)
	return creds, err
}

// readSecret reads a password without the line end that editors add.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 || len(text) > maxSecret {
		return "", fmt.Errorf("%s holds no password", path)
	}
	return string(text), nil
}
