package vendorextra

import (
	"crypto/md5" //nolint:gosec // as AMT
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var admin = bmc.Credentials{Username: "admin", Password: `P@ss"w0rd&1%2`}

// fakeAMT answers as AMT does. Its answers are those of
// device-management-toolkit/go-wsman-messages and its ancestor
// open-amt-cloud-toolkit/go-wsman-messages, recorded from machines, under
// pkg/wsman/wsmantesting/responses:
//
//	cim/associatedpower/managementservice/{enumerate,pull}.xml (2fc831a, 8286d88)
//	cim/power/managementservice/requestpowerstatechange.xml (d09845a)
//	cim/boot/configsetting/changebootorder.xml (579cec5)
//	cim/boot/service/setbootconfigrole.xml (9b39f90)
//	amt/boot/settingdata/get.xml (8b19be9)
//
// and, for the challenge and the Server header, response401 of
// open-amt-cloud-toolkit/mps (AMT 15.0.23). Lists of endpoint references are in
// the form of the ServiceProvided and UserOfService of that pull.xml;
// unverified: no capture of EnumerateEPR at hand.
type fakeAMT struct {
	mu       sync.Mutex
	creds    bmc.Credentials
	power    int
	offered  []int
	returns  int           // of RequestPowerStateChange
	role     int           // of SetBootConfigRole
	deaf     bool          // takes orders and does nothing
	stale    int           // so many good answers are turned away as stale
	answer   func() string // if set, for every message
	silent   chan struct{} // if set, nothing is answered until it is closed
	asked    int           // requests without an answer to the challenge
	answered int           // requests with one
	ordered  []string      // power states
	source   string
	put      string
	to       []string
}

const challenge = `Digest realm="Digest:727734D63A1FC0423736E48DA554E462", nonce="%s",stale="%t",qop="auth"`

func amtServer(t *testing.T, f *fakeAMT) *httptest.Server {
	t.Helper()
	if f.creds == (bmc.Credentials{}) {
		f.creds = admin
	}
	if f.offered == nil {
		f.offered = []int{10, 8, 5, 11, 4, 7, 14, 12} // pull.xml, machine on
	}
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	return s
}

func (f *fakeAMT) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.silent != nil {
		f.mu.Unlock()
		<-f.silent
		f.mu.Lock()
	}
	w.Header().Set("Server", "Intel(R) Active Management Technology 15.0.23.1706")
	body, _ := io.ReadAll(r.Body)
	auth := r.Header.Get("Authorization")
	if auth == "" {
		f.asked++
		if len(body) > 0 {
			http.Error(w, "an order before the login", http.StatusTeapot)
			return
		}
	} else {
		f.answered++
	}
	good := strings.Contains(auth, `response="`+expected(f.creds, auth)+`"`)
	if good && f.stale > 0 {
		f.stale--
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(challenge, "bmV3", true))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !good {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(challenge, "B9AX94iAAAAAAAAAx6rrSfPHGUrx/3uA", false))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f.answer != nil {
		_, _ = io.WriteString(w, f.answer())
		return
	}
	f.to = append(f.to, element(string(body), "To"))
	_, _ = io.WriteString(w, f.reply(string(body)))
}

// expected is the response that RFC 7616 asks for.
func expected(c bmc.Credentials, auth string) string {
	get := func(name string) string {
		m := regexp.MustCompile(`\b` + name + `="?([^",]*)`).FindStringSubmatch(auth)
		if m == nil {
			return ""
		}
		return m[1]
	}
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) } //nolint:gosec // as AMT
	return h(strings.Join([]string{
		h(c.Username + ":" + get("realm") + ":" + c.Password), get("nonce"), get("nc"), get("cnonce"), "auth", h("POST:" + get("uri")),
	}, ":"))
}

func element(message, name string) string {
	m := regexp.MustCompile(`<(?:\w+:)?` + name + `(?: [^>]*)?>([^<]*)<`).FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	return m[1]
}

const (
	cim         = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
	enumeration = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/"
)

func (f *fakeAMT) reply(message string) string {
	resource := element(message, "ResourceURI")
	class := resource[strings.LastIndex(resource, "/")+1:]
	switch action := element(message, "Action"); action[strings.LastIndex(action, "/")+1:] {
	case "Enumerate":
		return soap(enumeration+"EnumerateResponse", resource,
			`<g:EnumerateResponse><g:EnumerationContext>`+class+`</g:EnumerationContext></g:EnumerateResponse>`)
	case "Pull":
		return soap(enumeration+"PullResponse", resource, `<g:PullResponse><g:Items>`+f.items(class)+`</g:Items><g:EndOfSequence/></g:PullResponse>`)
	case "RequestPowerStateChange":
		f.ordered = append(f.ordered, element(message, "PowerState"))
		if !f.deaf && f.returns == 0 {
			f.power = map[string]int{"8": 8, "6": 8, "12": 8}[element(message, "PowerState")]
			if f.power == 0 {
				f.power = 2
			}
		}
		return invoked(resource, "RequestPowerStateChange", f.returns)
	case "SetBootConfigRole":
		return invoked(resource, "SetBootConfigRole", f.role)
	case "ChangeBootOrder":
		f.source = element(message, "Selector")
		return invoked(resource, "ChangeBootOrder", 0)
	case "Get":
		return soap("http://schemas.xmlsoap.org/ws/2004/09/transfer/GetResponse", resource, `<h:AMT_BootSettingData>
            <h:BIOSLastStatus>2</h:BIOSLastStatus>
            <h:BIOSLastStatus>0</h:BIOSLastStatus>
            <h:BIOSPause>false</h:BIOSPause>
            <h:BIOSSetup>true</h:BIOSSetup>
            <h:BootMediaIndex>0</h:BootMediaIndex>
            <h:ElementName>Intel(r) AMT Boot Configuration Settings</h:ElementName>
            <h:InstanceID>Intel(r) AMT:BootSettingData 0</h:InstanceID>
            <h:OptionsCleared>false</h:OptionsCleared>
            <h:OwningEntity>Intel(r) AMT</h:OwningEntity>
            <h:RSEPassword></h:RSEPassword>
            <h:UseSOL>false</h:UseSOL>
        </h:AMT_BootSettingData>`)
	case "Put":
		f.put = message
		return soap("http://schemas.xmlsoap.org/ws/2004/09/transfer/PutResponse", resource, "")
	}
	return soap("", resource, `<a:Fault><a:Reason><a:Text xml:lang="en-US">the action is not supported by the service</a:Text></a:Reason></a:Fault>`)
}

func soap(action, resource, body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><a:Envelope xmlns:a="http://www.w3.org/2003/05/soap-envelope" xmlns:b="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:c="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:g="http://schemas.xmlsoap.org/ws/2004/09/enumeration" xmlns:h="` + resource + `" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><a:Header><b:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</b:To><b:RelatesTo>1</b:RelatesTo><b:Action a:mustUnderstand="true">` + action +
		`</b:Action><b:MessageID>uuid:00000000-8086-8086-8086-000000007A95</b:MessageID><c:ResourceURI>` + resource + `</c:ResourceURI></a:Header><a:Body>` + body + `</a:Body></a:Envelope>`
}

func invoked(resource, method string, value int) string {
	return soap(resource+"/"+method+"Response", resource, fmt.Sprintf(`<h:%s_OUTPUT><h:ReturnValue>%d</h:ReturnValue></h:%[1]s_OUTPUT>`, method, value))
}

func (f *fakeAMT) items(class string) string {
	reference := func(name, value string) string {
		return `<b:EndpointReference><b:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</b:Address><b:ReferenceParameters><c:ResourceURI>` +
			cim + class + `</c:ResourceURI><c:SelectorSet><c:Selector Name="` + name + `">` + value + `</c:Selector></c:SelectorSet></b:ReferenceParameters></b:EndpointReference>`
	}
	switch class {
	case "CIM_AssociatedPowerManagementService":
		var s strings.Builder
		for _, n := range f.offered {
			fmt.Fprintf(&s, "<h:AvailableRequestedPowerStates>%d</h:AvailableRequestedPowerStates>", n)
		}
		return fmt.Sprintf(`<h:%s>%s<h:PowerState>%d</h:PowerState></h:%[1]s>`, class, s.String(), f.power)
	case "CIM_ComputerSystem":
		return reference("Name", "Intel(r) AMT") + reference("Name", "ManagedSystem")
	case "CIM_BootConfigSetting":
		return reference("InstanceID", "Intel(r) AMT: Boot Configuration 0")
	case "CIM_BootSourceSetting": // InstanceIDs of cim/boot/sourcesetting/pull.xml (c9e4827)
		return reference("InstanceID", "Intel(r) AMT: Force Hard-drive Boot") + reference("InstanceID", "Intel(r) AMT: Force PXE Boot") +
			reference("InstanceID", "Intel(r) AMT: Force CD/DVD Boot")
	}
	return ""
}

func (f *fakeAMT) look(see func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	see()
}

// addressOf is a server's address as an operator writes it.
func addressOf(t *testing.T, s *httptest.Server) bmc.Address {
	t.Helper()
	scheme := "redfish+"
	a, err := bmc.ParseAddress(scheme + s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// quick are Options for tests.
func quick() Options { return Options{Insecure: true, Patience: 300 * time.Millisecond} }

func dialAMT(t *testing.T, f *fakeAMT) *amt {
	t.Helper()
	return newAMT(addressOf(t, amtServer(t, f)), admin, quick())
}

func numbers(s []string) string { return strings.Join(slices.Clone(s), " ") }
