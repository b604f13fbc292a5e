package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	thisChannel = 0x0e // the one that the request comes by (chapter 6.3)
	maxUsers    = 63   // six bits
	noAccess    = 0x0f
)

// Operations of Set User Password (chapter 22.30).
const (
	userDisable  = 0
	userEnable   = 1
	userPassword = 2
)

// roles are the privilege limits of chapter 22.26, as Redfish names what is like
// them.
func roles() map[byte]string {
	return map[byte]string{2: "ReadOnly", 3: "Operator", 4: "Administrator"}
}

// Accounts lists the users that have a name.
func (m *Machine) Accounts(ctx context.Context) ([]bmc.Account, error) {
	all, _, err := m.users(ctx, "list accounts")
	return all, err
}

// users reads all slots; free is the first without a name, or 0. Slot 1 is for
// the anonymous user (chapter 6.9.1).
func (m *Machine) users(ctx context.Context, op string) (named []bmc.Account, free int, err error) {
	slots := 1
	for id := 1; id <= slots; id++ {
		access, err := m.read(ctx, op, request{netFn: netFnApp, cmd: 0x44, data: []byte{thisChannel, byte(id)}}, 4)
		if err != nil {
			return nil, 0, err
		}
		slots = min(int(access[0]&0x3f), maxUsers)
		name, err := m.read(ctx, op, request{netFn: netFnApp, cmd: 0x46, data: []byte{byte(id)}}, 0)
		if err != nil && !isCompletion(err) {
			return nil, 0, err
		}
		// A slot without a name is CCh to some.
		if text := fieldText(3, bytes.TrimRight(name, "\x00")); err == nil && text != "" {
			named = append(named, bmc.Account{
				ID: strconv.Itoa(id), Username: text, Role: roles()[access[3]&0x0f],
				// 0: the BMC does not say (chapter 22.27).
				Enabled: access[1]>>6 != 2 && access[3]&0x0f != noAccess,
			})
		} else if free == 0 && id > 1 {
			free = id
		}
	}
	return named, free, nil
}

// CreateAccount gives the first free slot a name, a password and its rights, in
// this order, so that nobody can log in before the last step.
func (m *Machine) CreateAccount(ctx context.Context, a bmc.Account, password string) (bmc.Account, error) {
	const op = "create account"
	if err := fits(op, a.Username, password); err != nil {
		return a, err
	}
	level := byte(0)
	for l, role := range roles() {
		if role == a.Role {
			level = l
		}
	}
	if level == 0 || a.Username == "" {
		return a, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "a name is needed, and the role Administrator, Operator or ReadOnly"}
	}
	named, id, err := m.users(ctx, op)
	if err != nil {
		return a, err
	}
	for _, n := range named {
		if n.Username == a.Username {
			return a, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "there is an account of this name"}
		}
	}
	if id == 0 {
		return a, &bmc.Error{Class: bmc.Busy, Op: op, Detail: fmt.Sprintf("all of the BMC's %d accounts are taken", len(named))}
	}
	a.ID = strconv.Itoa(id)
	name := make([]byte, maxUsername)
	copy(name, a.Username)
	steps := []request{
		{netFn: netFnApp, cmd: 0x45, data: append([]byte{byte(id)}, name...)},
		passwordRequest(byte(id), userPassword, password),
		// Change all bits: IPMI messages allowed, up to this level.
		{netFn: netFnApp, cmd: 0x43, data: []byte{0x90 | thisChannel, byte(id), level, 0}},
	}
	if a.Enabled {
		steps = append(steps, passwordRequest(byte(id), userEnable, ""))
	}
	for _, r := range steps {
		if err := m.write(ctx, op, r, tries); err != nil {
			_ = m.DeleteAccount(context.WithoutCancel(ctx), a.ID)
			return a, err
		}
	}
	return a, m.shows(ctx, op, a)
}

// shows reads an account back.
func (m *Machine) shows(ctx context.Context, op string, want bmc.Account) error {
	named, _, err := m.users(ctx, op)
	if err != nil {
		return err
	}
	for _, n := range named {
		if n.ID == want.ID && n.Username == want.Username && n.Role == want.Role {
			return nil
		}
	}
	return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but does not show the account"}
}

// DeleteAccount disables the user of a slot and takes its rights and its name:
// IPMI cannot delete.
func (m *Machine) DeleteAccount(ctx context.Context, id string) error {
	const op = "delete account"
	slot, err := strconv.Atoi(id)
	if err != nil || slot < 1 || slot > maxUsers {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no such account"}
	}
	for _, r := range []request{
		passwordRequest(byte(slot), userDisable, ""),
		{netFn: netFnApp, cmd: 0x43, data: []byte{0x80 | thisChannel, byte(slot), noAccess, 0}},
		{netFn: netFnApp, cmd: 0x45, data: append([]byte{byte(slot)}, make([]byte, maxUsername)...)},
	} {
		if err := m.write(ctx, op, r, tries); err != nil {
			return err
		}
	}
	return nil
}

// fits checks what IPMI can hold.
func fits(op, username, password string) error {
	if len(username) > maxUsername || len(password) > maxPassword {
		return &bmc.Error{
			Class: bmc.BadRequest, Op: op,
			Detail: fmt.Sprintf("IPMI takes at most %d bytes of user name and %d of password", maxUsername, maxPassword),
		}
	}
	return nil
}

// passwordRequest is Set User Password; a password of more than 16 bytes needs
// the long form (chapter 22.30).
func passwordRequest(id, operation byte, password string) request {
	data := []byte{id, operation}
	if operation == userPassword {
		field := make([]byte, 16)
		if len(password) > 16 {
			data[0] |= 0x80
			field = make([]byte, maxPassword)
		}
		copy(field, password)
		data = append(data, field...)
	}
	return request{netFn: netFnApp, cmd: 0x47, data: data}
}

// SetPassword changes a password and logs in with the new one to see it taken:
// some BMCs keep 16 bytes of it and say nothing. If it is this machine's own, later
// sessions use it, or the old one is put back if it does not work.
func (m *Machine) SetPassword(ctx context.Context, username, password string) error {
	const op = "set password"
	if err := fits(op, username, password); err != nil {
		return err
	}
	named, _, err := m.users(ctx, op)
	if err != nil {
		return err
	}
	var id byte
	for _, a := range named {
		if a.Username == username {
			n, _ := strconv.Atoi(a.ID) // ours
			id = byte(n)
		}
	}
	if id == 0 {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the BMC has no account of this name"}
	}
	// In one turn: no session may be opened with the old password in between.
	return m.use(ctx, op, func(s *session) error {
		if _, err := s.command(ctx, passwordRequest(id, userPassword, password), tries); err != nil {
			return err
		}
		creds := bmc.Credentials{Username: username, Password: password}
		const user = 2 // the least that can log in, so that the account's rights do not matter
		fresh, err := connect(ctx, m.address, creds, user, m.o)
		if err != nil {
			detail := "the BMC took the password, but a login with it failed"
			if username == m.creds.Username { // while there still is a session that can
				if _, back := s.command(ctx, passwordRequest(id, userPassword, m.creds.Password), tries); back == nil {
					detail += "; the old one was put back"
				}
			}
			return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: detail, Err: err}
		}
		_ = fresh.close(ctx)
		if username == m.creds.Username {
			m.creds.Password = password
		}
		return nil
	})
}
