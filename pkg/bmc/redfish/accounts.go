package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"sort"
	"strconv"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Accounts = (*System)(nil)

// maxAccounts bounds the walk: iDRAC has 16 slots, others a dozen.
const maxAccounts = 64

// accountService is DSP0268 AccountService, as far as it is used.
type accountService struct {
	Accounts link     `json:"Accounts"`
	Min      quantity `json:"MinPasswordLength"`
	Max      quantity `json:"MaxPasswordLength"`
}

// managerAccount is DSP0268 ManagerAccount, as far as it is used.
type managerAccount struct {
	uri     string
	Name    text     `json:"UserName"`
	RoleID  text     `json:"RoleId"`
	Enabled tristate `json:"Enabled"`
	Locked  tristate `json:"Locked"`
	Links   struct {
		Role link `json:"Role"`
	} `json:"Links"`
}

func (m managerAccount) account() bmc.Account {
	role := clean(m.RoleID)
	if role == "" && m.Links.Role != "" {
		role = clip(path.Base(string(m.Links.Role)))
	}
	// Enabled is missing where accounts cannot be switched off.
	return bmc.Account{
		ID: m.uri, Username: clip(string(m.Name)), Role: role,
		Enabled: m.Enabled.value || !m.Enabled.known, Locked: m.Locked.value,
	}
}

func decodeAccount(m member) (managerAccount, bool) {
	a := managerAccount{uri: m.uri}
	err := lenient(json.Unmarshal(m.body, &a))
	return a, err == nil && a.uri != ""
}

// Accounts implements bmc.Accounts. Empty slots are none.
func (s *System) Accounts(ctx context.Context) ([]bmc.Account, error) {
	const op = "list accounts"
	_, all, err := s.e.accounts(ctx, op)
	if expired(err) {
		err = expiredError(op)
	}
	if err != nil {
		return nil, err
	}
	out := []bmc.Account{}
	for _, a := range all {
		if a.Name != "" {
			out = append(out, a.account())
		}
	}
	return out, nil
}

func (e *Endpoint) accounts(ctx context.Context, op string) (accountService, []managerAccount, error) {
	service, err := e.accountService(ctx, op)
	if err != nil {
		return service, nil, err
	}
	all, err := e.gather(ctx, op, string(service.Accounts), maxAccounts, maxAccounts)
	if err != nil {
		return service, nil, err
	}
	var out []managerAccount
	for _, m := range all.members {
		if a, ok := decodeAccount(m); ok {
			out = append(out, a)
		}
	}
	return service, out, nil
}

func (e *Endpoint) accountService(ctx context.Context, op string) (accountService, error) {
	var service accountService
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return service, err
	}
	if root.AccountService == "" {
		return service, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC has no account service"}
	}
	if _, err := e.get(ctx, op, string(root.AccountService), &service); err != nil {
		return service, err
	}
	if service.Accounts == "" {
		return service, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the account service lists no accounts"}
	}
	return service, nil
}

// accountBody is what a new account is made of; one write carries all, because
// iDRAC refuses a name without a password and the other way round.
type accountBody struct {
	Name     string `json:"UserName"`
	Password string `json:"Password"`
	Role     string `json:"RoleId"`
	Enabled  bool   `json:"Enabled"`
}

// CreateAccount implements bmc.Accounts.
func (s *System) CreateAccount(ctx context.Context, a bmc.Account, password string) (bmc.Account, error) {
	made, err := s.createAccount(ctx, "create account", a, password)
	if err != nil {
		return bmc.Account{}, secrets{password}.scrub(err)
	}
	return made, nil
}

func (s *System) createAccount(ctx context.Context, op string, a bmc.Account, password string) (bmc.Account, error) {
	if a.Username == "" || a.Role == "" {
		return a, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "an account needs a name and a role"}
	}
	service, all, err := s.e.accounts(ctx, op)
	if expired(err) {
		err = expiredError(op)
	}
	if err != nil {
		return a, err
	}
	if err := s.e.checkLength(op, service, password); err != nil {
		return a, err
	}
	for _, have := range all {
		if string(have.Name) == a.Username {
			return a, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the BMC has an account " + clip(a.Username) + " already"}
		}
	}
	body := accountBody{Name: a.Username, Password: password, Role: a.Role, Enabled: true}
	if s.has(quirk.AccountSlots) {
		slot, ok := emptySlot(all)
		if !ok {
			return a, &bmc.Error{Class: bmc.Busy, Op: op, Detail: "every account slot of the BMC is taken: delete one first"}
		}
		if _, err := s.patch(ctx, op, slot, body); err != nil {
			return a, err
		}
	} else if _, err := s.e.do(ctx, call{op: op, method: http.MethodPost, uri: string(service.Accounts), body: body}); err != nil {
		return a, err
	}
	if _, all, err = s.e.accounts(ctx, op); err != nil {
		return a, err
	}
	for _, have := range all {
		if string(have.Name) != a.Username {
			continue
		}
		if got := have.account(); got.Role == a.Role && got.Enabled {
			return got, nil
		}
		return a, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC made the account, but with another role, or switched off"}
	}
	return a, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but shows no such account"}
}

// emptySlot finds the first slot without a name. The first of all is reserved
// (iDRAC: the anonymous user of IPMI).
func emptySlot(all []managerAccount) (string, bool) {
	type slot struct {
		n   int
		uri string
	}
	var free []slot
	for _, a := range all {
		n, err := strconv.Atoi(path.Base(a.uri))
		if a.Name == "" && !a.Enabled.value && err == nil && n != 1 {
			free = append(free, slot{n, a.uri})
		}
	}
	if len(free) == 0 {
		return "", false
	}
	sort.Slice(free, func(i, j int) bool { return free[i].n < free[j].n })
	return free[0].uri, true
}

// DeleteAccount implements bmc.Accounts. The account that is logged in here is
// not deleted. One that is gone is no error.
func (s *System) DeleteAccount(ctx context.Context, id string) error {
	const op = "delete account"
	a := managerAccount{uri: id}
	if _, err := s.e.get(ctx, op, id, &a); err != nil {
		if unsupported(err) {
			return nil
		}
		return err
	}
	switch string(a.Name) {
	case "":
		return nil // an empty slot
	case s.e.creds.Username:
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "that account is the one in use: delete it with another"}
	}
	var err error
	if s.has(quirk.AccountSlots) {
		_, err = s.patch(ctx, op, id, map[string]any{"UserName": "", "Enabled": false})
	} else {
		_, err = s.e.do(ctx, call{op: op, method: http.MethodDelete, uri: id})
	}
	if err != nil {
		return err
	}
	a = managerAccount{uri: id}
	_, err = s.e.get(ctx, op, id, &a)
	switch {
	case unsupported(err), err == nil && a.Name == "":
		return nil
	case err != nil:
		return err
	}
	return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but the account is still there"}
}

// safePassword is what every BMC with IPMI keeps of a password: 16 bytes in
// IPMI 1.5, 20 in 2.0 (§22.30).
const safePassword = 16

// checkLength refuses a password that the BMC would refuse, or worse, cut short
// and lock us out.
func (e *Endpoint) checkLength(op string, service accountService, password string) error {
	least, most := 1, 0
	if service.Min.known {
		least = max(least, int(service.Min.value))
	}
	if service.Max.known && service.Max.value >= 1 {
		most = int(service.Max.value)
	}
	if e.quirks.Has(quirk.ShortPassword) && (most == 0 || most > safePassword) {
		most = safePassword
	}
	if n := len(password); n < least || most > 0 && n > most {
		detail := fmt.Sprintf("the BMC takes passwords of at least %d characters", least)
		if most > 0 {
			detail = fmt.Sprintf("the BMC takes passwords of %d to %d characters", least, most)
		}
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: fmt.Sprintf("%s, this one has %d", detail, n)}
	}
	return nil
}
