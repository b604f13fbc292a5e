package treebmc

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// shortest is what quirk.ShortPassword keeps of a password: "The 20 char limit
// comes from IPMI" (bmcweb #462). Unverified that a BMC cuts without a word, as
// IPMI 2.0 §22.30 does.
const shortest = 20

// settle gives the administrator an account, and settings objects their owners.
func (s *Server) settle() {
	s.users[s.o.Username] = s.kept(s.o.Password)
	_, service := s.at(s.doc(rootKey)["AccountService"])
	_, all := s.at(service["Accounts"])
	k := ""
	for _, m := range members(all) {
		mk, account := s.at(m)
		if name := str(account["UserName"]); account != nil && name != "" && (k == "" || name == s.o.Username) {
			k = mk
		}
	}
	if account := s.doc(k); account != nil && s.o.Username != "" {
		account["UserName"], account["Enabled"] = s.o.Username, true
	}
	for _, k := range s.hosts() {
		s.own(k)
		bios, _ := s.at(s.doc(k)["Bios"])
		s.own(bios)
	}
}

// own notes the settings object of the resource at k.
func (s *Server) own(k string) {
	if settings := s.settingsOf(s.doc(k)); settings != "" {
		s.settings[settings] = k
	}
}

// hosts are the keys of the systems.
func (s *Server) hosts() []string {
	_, all := s.at(s.doc(rootKey)["Systems"])
	return keysIn(members(all))
}

func (s *Server) kept(password string) string {
	if s.o.Quirks.Has(quirk.ShortPassword) && len(password) > shortest {
		return password[:shortest]
	}
	return password
}

// checkPassword holds the limits that AccountService shows.
func (s *Server) checkPassword(password string) *answer {
	_, service := s.at(s.doc(rootKey)["AccountService"])
	low, _ := service["MinPasswordLength"].(float64)
	high, _ := service["MaxPasswordLength"].(float64)
	if n := float64(len(password)); n < low || high > 0 && n > high {
		return refuse(http.StatusBadRequest, "Base.1.8.PropertyValueFormatError",
			fmt.Sprintf("The password has %v characters, and must have %v to %v.", n, low, high), "#/Password")
	}
	return nil
}

func (s *Server) addAccount(r *request) *answer {
	// quirk.AccountSlots: "Dell for example does not allow to create users via POST,
	// instead one needs to PATCH one of the existing user slots": 405 (metal-operator
	// #913).
	if s.o.Quirks.Has(quirk.AccountSlots) {
		return notAllowed()
	}
	name, password := str(r.body["UserName"]), str(r.body["Password"])
	for _, p := range []struct{ name, value string }{{"UserName", name}, {"Password", password}} {
		if p.value == "" {
			return refuse(http.StatusBadRequest, "Base.1.8.PropertyMissing", "The property "+p.name+" is a required property and must be included in the request.", "#/"+p.name)
		}
	}
	if _, taken := s.users[name]; taken {
		return refuse(http.StatusBadRequest, "Base.1.8.ResourceAlreadyExists", "The requested resource of type ManagerAccount with the property UserName with the value "+name+" already exists.")
	}
	if refused := s.checkPassword(password); refused != nil {
		return refused
	}
	account := obj{
		"@odata.type": "#ManagerAccount.v1_8_0.ManagerAccount", "Name": "User Account", "UserName": name, "Password": nil,
		"RoleId": r.body["RoleId"], "Enabled": r.body["Enabled"] != false, "Locked": false,
	}
	uri := s.add(r.key, account)
	s.users[name] = s.kept(password)
	return (&answer{status: http.StatusCreated, body: account}).with("Location", uri)
}

func (s *Server) patchAccount(r *request, doc obj) *answer {
	old := str(doc["UserName"])
	if password, ok := r.body["Password"].(string); ok {
		if refused := s.checkPassword(password); refused != nil {
			return refused
		}
		s.users[old] = s.kept(password)
		delete(r.body, "Password")
	}
	merge(doc, r.body)
	if name := str(doc["UserName"]); name != old {
		password := s.users[old]
		delete(s.users, old)
		if name != "" {
			s.users[name] = password
		}
	}
	s.touch(r.key)
	return done()
}

func (s *Server) removeAccount(r *request, doc obj) *answer {
	if s.o.Quirks.Has(quirk.AccountSlots) {
		return notAllowed()
	}
	delete(s.users, str(doc["UserName"]))
	s.forget(r.key)
	return done()
}

// subscribe makes an EventDestination.
func (s *Server) subscribe(r *request) *answer {
	to := str(r.body["Destination"])
	if to == "" {
		return refuse(http.StatusBadRequest, "Base.1.8.PropertyMissing", "The property Destination is a required property and must be included in the request.", "#/Destination")
	}
	// quirk.EventNoRetry. Unverified: metal-operator #755 leaves DeliveryRetryPolicy
	// out for HPE; the refusal is not on record.
	if _, ok := r.body["DeliveryRetryPolicy"]; ok && s.o.Quirks.Has(quirk.EventNoRetry) {
		return unknownProperty("DeliveryRetryPolicy")
	}
	// quirk.EventDuplicate: metal-operator #870 looks for the first one when the
	// error contains "ResourceAlreadyExists". Unverified: the status.
	if s.o.Quirks.Has(quirk.EventDuplicate) && slices.ContainsFunc(members(s.doc(r.key)), func(m any) bool {
		_, other := s.at(m)
		return other["Destination"] == to
	}) {
		return refuse(http.StatusBadRequest, "Base.1.8.ResourceAlreadyExists", "The requested resource of type EventDestination with the property Destination with the value "+to+" already exists.")
	}
	made := clone(r.body)
	made["@odata.type"], made["Name"] = "#EventDestination.v1_10_0.EventDestination", "Subscription"
	if _, ok := made["HttpHeaders"]; ok {
		made["HttpHeaders"] = []any{} // DSP0268: never shown again
	}
	// quirk.EventNoContext: sushy's release note allow_empty_context: "some BMCs do
	// not report Context when the subscription is created with empty string".
	if s.o.Quirks.Has(quirk.EventNoContext) && str(made["Context"]) == "" {
		delete(made, "Context")
	}
	uri := s.add(r.key, made)
	return (&answer{status: http.StatusCreated, body: made}).with("Location", uri)
}
