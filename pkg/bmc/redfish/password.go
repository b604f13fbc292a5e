package redfish

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// passwordPause is what a BMC may need before it believes a new password.
const passwordPause = 2 * time.Second

// SetPassword implements bmc.Accounts. If the account is the one in use, this
// connection's credentials are the old ones: open the BMC anew.
func (s *System) SetPassword(ctx context.Context, username, password string) error {
	return s.e.setPassword(ctx, username, password)
}

// ChangePassword changes the password of creds' own account. Unlike
// System.SetPassword it also works where the BMC refuses everything else until
// that is done (DSP0266 §13.3.7), as new machines and expired accounts do, so
// that no System can be opened.
func ChangePassword(ctx context.Context, addr bmc.Address, creds bmc.Credentials, password string, o Options) error {
	e := NewEndpoint(addr, creds, o)
	err := e.setPassword(ctx, creds.Username, password)
	_ = e.close(ctx) // the session of the old password may be gone
	return err
}

func (e *Endpoint) setPassword(ctx context.Context, username, password string) error {
	const op = "set password"
	return secrets{password, e.creds.Password}.scrub(e.newPassword(ctx, op, username, password))
}

func (e *Endpoint) newPassword(ctx context.Context, op, username, password string) error {
	uri, enabled, err := e.accountOf(ctx, op, username, password)
	if err != nil {
		return err
	}
	// Without If-Match where the account may not even be read.
	c := call{op: op, method: http.MethodPatch, uri: uri, body: map[string]string{"Password": password}}
	var now struct {
		ETag text `json:"@odata.etag"`
	}
	if a, err := e.get(ctx, op, uri, &now); err == nil {
		c.match = a.etag(now.ETag)
	}
	if _, err := e.do(ctx, c); err != nil {
		return err
	}
	if !enabled {
		return nil // nobody can log in with it
	}
	if err := e.sleep(ctx, passwordPause); err != nil {
		return e.classify(ctx, op, err)
	}
	return e.tryPassword(ctx, op, uri, bmc.Credentials{Username: username, Password: password})
}

// accountOf finds the account and checks the new password's length. Where the
// BMC wants the password changed before all else, it says itself where.
func (e *Endpoint) accountOf(ctx context.Context, op, username, password string) (uri string, enabled bool, err error) {
	service, all, err := e.accounts(ctx, op)
	if expired(err) {
		if username != e.creds.Username {
			return "", false, expiredError(op)
		}
		uri, err = e.expiredAccount(ctx, op)
		return uri, true, err
	}
	if err != nil {
		return "", false, err
	}
	if err := e.checkLength(op, service, password); err != nil {
		return "", false, err
	}
	for _, a := range all {
		if string(a.Name) == username && username != "" {
			return a.uri, a.account().Enabled, nil
		}
	}
	return "", false, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the BMC has no account " + clip(username)}
}

// tryPassword logs in anew, once: a second try with a password that is not taken
// helps to lock the account.
func (e *Endpoint) tryPassword(ctx context.Context, op, uri string, creds bmc.Credentials) error {
	other := e.again(creds)
	defer func() { _ = other.close(ctx) }() // a session more or less
	var a managerAccount
	err := other.present(ctx)
	if err == nil {
		_, err = other.get(ctx, op, uri, &a)
	}
	switch bmc.ClassOf(err) {
	case bmc.Auth:
		return &bmc.Error{
			Class: bmc.Protocol, Op: op,
			Detail: "the BMC took the new password, but refuses a login with it: it may have kept a part of it (log in by hand before you go on)",
		}
	case bmc.Forbidden, bmc.Unsupported:
		return nil // logged in, but an account of this role may not look
	}
	var be *bmc.Error
	if errors.As(err, &be) {
		be.Op, be.Detail = op, "the BMC took the new password, but a login with it could not be tried: "+be.Detail
	}
	return err
}

// expired reports whether the BMC refused because the password in use must be
// changed first.
func expired(err error) bool {
	var be *bmc.Error
	return errors.As(err, &be) && be.Code == bmc.CodePasswordChange
}

func expiredError(op string) error {
	return &bmc.Error{
		Class: bmc.Auth, Code: bmc.CodePasswordChange, Op: op,
		Detail: "the BMC wants the password of the account in use changed before anything else: change that one first",
	}
}

// expiredAccount asks once more where the account is whose password must be
// changed: the message names it as its argument (DSP0266 §13.3.7, Base registry
// PasswordChangeRequired).
func (e *Endpoint) expiredAccount(ctx context.Context, op string) (string, error) {
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return "", err
	}
	a, err := e.do(ctx, call{op: op, method: http.MethodGet, uri: string(root.AccountService)})
	if a != nil {
		if uri := passwordChangeLink(a.body); uri != "" {
			return uri, nil
		}
	}
	if err == nil || expired(err) {
		err = &bmc.Error{
			Class: bmc.Auth, Code: bmc.CodePasswordChange, Op: op,
			Detail: "the BMC wants this password changed before anything else, but does not say where: change it on the BMC's own page",
		}
	}
	return "", err
}

// passwordChangeLink finds the link of a PasswordChangeRequired message.
func passwordChangeLink(body []byte) string {
	type message struct {
		ID   text       `json:"MessageId"`
		Args list[text] `json:"MessageArgs"`
	}
	var doc struct {
		Error struct {
			Extended list[message] `json:"@Message.ExtendedInfo"`
		} `json:"error"`
		Extended list[message] `json:"@Message.ExtendedInfo"`
	}
	if lenient(json.Unmarshal(body, &doc)) != nil {
		return ""
	}
	for _, m := range append(doc.Error.Extended, doc.Extended...) {
		if strings.HasSuffix(string(m.ID), ".PasswordChangeRequired") && len(m.Args) > 0 && strings.HasPrefix(string(m.Args[0]), "/") {
			return string(m.Args[0])
		}
	}
	return ""
}
