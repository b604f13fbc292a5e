package scan

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
)

// Account is what a maker's BMCs leave the factory with.
type Account struct {
	Maker              string
	Username, Password string
	// Note says of which BMCs it is true.
	Note  string
	hints []string // what the service root of the maker holds, in lower case
}

// Accounts is the list of factory accounts: documented by their makers, and
// short. Makers that print a password on each machine (HPE, and by now most
// others) are not in it.
func Accounts() []Account {
	return []Account{
		{Maker: "Dell", Username: "root", Password: "calvin", Note: "iDRAC without the option of a password of its own", hints: []string{"dell", "idrac"}},
		{Maker: "Supermicro", Username: "ADMIN", Password: "ADMIN", Note: "boards made before 2020", hints: []string{"supermicro"}},
		{Maker: "Lenovo", Username: "USERID", Password: "PASSW0RD", Note: "XCC and IMM; must be changed at the first login", hints: []string{"lenovo"}},
		{Maker: "OpenBMC", Username: "root", Password: "0penBmc", Note: "images without a maker's own", hints: []string{"openbmc"}},
		{Maker: "ASRockRack", Username: "admin", Password: "admin", Note: "", hints: []string{"asrock"}},
		{Maker: "GIGABYTE", Username: "admin", Password: "password", Note: "boards made before 2020", hints: []string{"gigabyte", "giga computing"}},
		{Maker: "Fujitsu", Username: "admin", Password: "admin", Note: "iRMC without a password on its label", hints: []string{"fujitsu", "irmc"}},
		{Maker: "Cisco", Username: "admin", Password: "password", Note: "CIMC; must be changed at the first login", hints: []string{"cisco"}},
	}
}

// Outcome of a login.
type Outcome string

// Outcomes.
const (
	NoAccount Outcome = "no factory account known" // nothing was sent
	Accepted  Outcome = "accepted"
	Refused   Outcome = "refused"
	Unclear   Outcome = "unclear" // no answer, or neither
)

// Login is what became of the one try.
type Login struct {
	Outcome Outcome
	Account Account
	Systems []System // if it was accepted
}

// System behind a BMC.
type System struct {
	URI, Manufacturer, Model, Serial string
}

// accountFor is the account of the maker that the service says it is of.
func accountFor(s Service) (Account, bool) {
	for _, a := range Accounts() {
		for _, h := range a.hints {
			if strings.Contains(s.hints, h) {
				return a, true
			}
		}
	}
	return Account{}, false
}

// login tries the factory account with one request by HTTP Basic, which opens no
// session. Only where it was accepted are there more.
func (s *scanner) login(ctx context.Context, a netip.Addr, svc Service) *Login {
	account, ok := accountFor(svc)
	if !ok {
		return &Login{Outcome: NoAccount}
	}
	l := &Login{Account: account, Outcome: Unclear}
	url := base(a, svc.Port, svc.TLS)
	body, err := s.get(ctx, url+"/redfish/v1/Systems", &account)
	var code status
	switch {
	case errors.As(err, &code) && (code == http.StatusUnauthorized || code == http.StatusForbidden):
		l.Outcome = Refused
	case err == nil:
		l.Outcome = Accepted
		l.Systems = s.systems(ctx, url, body, &account)
	}
	return l
}

func (s *scanner) systems(ctx context.Context, url string, body []byte, account *Account) []System {
	var list struct {
		Members []struct {
			ID string `json:"@odata.id"`
		}
	}
	if json.Unmarshal(body, &list) != nil {
		return nil
	}
	var out []System
	for _, m := range list.Members[:min(len(list.Members), maxSystem)] {
		if !strings.HasPrefix(m.ID, "/redfish/v1/") || len(m.ID) > maxURI || printable(m.ID) != m.ID {
			continue
		}
		sys := System{URI: m.ID}
		if body, err := s.get(ctx, url+m.ID, account); err == nil {
			var cs map[string]any
			if json.Unmarshal(body, &cs) == nil {
				sys.Manufacturer, sys.Model, sys.Serial = word(cs["Manufacturer"]), word(cs["Model"]), word(cs["SerialNumber"])
			}
		}
		out = append(out, sys)
	}
	return out
}
