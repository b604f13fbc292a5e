package redfish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var _ bmc.SecureBoot = (*System)(nil)

// What an Op wants of Secure Boot.
const (
	wantEnable      = "SecureBootEnable"
	wantCurrent     = "SecureBootCurrentBoot"
	wantMode        = "SecureBootMode"
	wantCertificate = "CertificateSHA256"
	wantCount       = "Certificates"
)

// Modes and states (DSP0268 SecureBoot; UEFI 2.10 §32.3).
const (
	secureSetup    = "SetupMode"
	secureUser     = "UserMode"
	secureEnabled  = "Enabled"
	secureDisabled = "Disabled"
)

const (
	maxDatabases    = 32
	maxCertificates = 64 // that are compared one by one
	maxPEM          = 64 << 10
)

// secureBoot is DSP0268 SecureBoot.
type secureBoot struct {
	ETag      text   `json:"@odata.etag"`
	Enable    text   `json:"SecureBootEnable"`
	Current   text   `json:"SecureBootCurrentBoot"`
	Mode      text   `json:"SecureBootMode"`
	Databases link   `json:"SecureBootDatabases"`
	Settings  object `json:"@Redfish.Settings"`
	Actions   struct {
		Reset struct {
			action
			Allowed list[text] `json:"ResetKeysType@Redfish.AllowableValues"`
		} `json:"#SecureBoot.ResetKeys"`
	} `json:"Actions"`
}

// secureDatabase is DSP0268 SecureBootDatabase.
type secureDatabase struct {
	ID           text `json:"@odata.id"`
	Name         text `json:"DatabaseId"`
	Certificates link `json:"Certificates"`
}

// name of the database; older services have but the link's last part.
func (d secureDatabase) name() string {
	if d.Name != "" {
		return clean(d.Name)
	}
	return clip(path.Base(strings.TrimRight(string(d.ID), "/")))
}

// certificate is DSP0268 Certificate.
type certificate struct {
	ID     text `json:"@odata.id"`
	Type   text `json:"CertificateType"`
	String text `json:"CertificateString"`
}

// secureBootAt reads the resource, and names its URI.
func (s *System) secureBootAt(ctx context.Context, op string) (string, *secureBoot, *answer, error) {
	_, a, err := s.read(ctx, op)
	if err != nil {
		return "", nil, nil, err
	}
	var cs struct {
		SecureBoot link `json:"SecureBoot"`
	}
	if err := decode(op, a.body, &cs); err != nil {
		return "", nil, nil, err
	}
	if cs.SecureBoot == "" {
		return "", nil, nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no Secure Boot of this system"}
	}
	var sb secureBoot
	a, err = s.e.get(ctx, op, string(cs.SecureBoot), &sb)
	return string(cs.SecureBoot), &sb, a, err
}

// SecureBoot implements bmc.SecureBoot: two requests for the state, and one for
// each database (two where the BMC does not expand).
func (s *System) SecureBoot(ctx context.Context) (bmc.SecureBootState, error) {
	const op = "read Secure Boot"
	_, sb, _, err := s.secureBootAt(ctx, op)
	if err != nil {
		return bmc.SecureBootState{}, err
	}
	out := bmc.SecureBootState{
		Enabled: sb.Enable == "true",
		Current: strings.EqualFold(string(sb.Current), secureEnabled),
		Mode:    clean(sb.Mode),
		Unknown: sb.Enable == "" && sb.Current == "",
	}
	databases, err := s.databases(ctx, op, sb)
	if err != nil || databases == nil {
		return out, err
	}
	out.Databases = map[string]int{}
	for _, d := range databases {
		name := d.name()
		if strings.HasSuffix(name, "Default") {
			continue
		}
		if out.Databases[name], err = s.countCertificates(ctx, op, d); err != nil {
			return out, err
		}
	}
	return out, nil
}

// databases lists them, nil if the BMC has none.
func (s *System) databases(ctx context.Context, op string, sb *secureBoot) ([]secureDatabase, error) {
	if sb.Databases == "" {
		return nil, nil
	}
	all, err := readMembers(ctx, s.e, op, string(sb.Databases), maxMembers, func(d secureDatabase) (string, bool) {
		// The factory's are of no use here, and not worth a request.
		return string(d.ID), d.Certificates == "" && d.Name == "" && !strings.HasSuffix(d.name(), "Default")
	})
	if unsupported(err) {
		return nil, nil
	}
	return all[:min(len(all), maxDatabases)], err
}

// countCertificates is -1 if the BMC does not show them.
func (s *System) countCertificates(ctx context.Context, op string, d secureDatabase) (int, error) {
	if d.Certificates == "" {
		return -1, nil
	}
	var all collection
	switch _, err := s.e.get(ctx, op, string(d.Certificates), &all); {
	case unsupported(err):
		return -1, nil
	case err != nil:
		return -1, err
	}
	return len(all.Members), nil
}

// SetSecureBoot implements bmc.SecureBoot. The change is in force after a reset.
func (s *System) SetSecureBoot(ctx context.Context, enable bool) (bmc.Op, error) {
	op := "disable Secure Boot"
	current := secureDisabled
	if enable {
		op, current = "enable Secure Boot", secureEnabled
	}
	uri, sb, a, err := s.secureBootAt(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	if sb.Enable == "" {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC does not show whether Secure Boot is enabled, so it cannot be switched"}
	}
	want := strconv.FormatBool(enable)
	o := bmc.Op{Kind: opSecureBoot, Resource: uri, Want: map[string]string{wantEnable: want}}
	if sb.Current != "" {
		o.Want[wantCurrent] = current
	}
	target, etag := uri, a.etag(sb.ETag)
	staged := sb.Enable
	if sb.Settings.Object != "" {
		var pending secureBoot
		pa, err := s.e.get(ctx, op, string(sb.Settings.Object), &pending)
		if err != nil && !unsupported(err) {
			return bmc.Op{}, err
		}
		if err == nil {
			target, etag = string(sb.Settings.Object), pa.etag(pending.ETag)
			if pending.Enable != "" {
				staged = pending.Enable
			}
		}
	}
	if string(staged) != want {
		body := map[string]bool{wantEnable: enable}
		if o, err = s.begin(ctx, call{op: op, method: http.MethodPatch, uri: target, body: body, match: etag}, o); err != nil {
			return bmc.Op{}, err
		}
	}
	return s.verifySecureBoot(ctx, op, o)
}

// verifySecureBoot reads back a switch.
func (s *System) verifySecureBoot(ctx context.Context, op string, o bmc.Op) (bmc.Op, error) {
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return o, s.e.classify(ctx, op, err)
			}
		}
		p, err := s.readBackSecureBoot(ctx, op, o)
		if err != nil {
			return o, err
		}
		o.Done = p.Done && o.Task == ""
		o.NeedsReset = !p.Done
		if p.Done || p.Message == waitsForReset || o.Task != "" {
			return o, nil
		}
	}
	return o, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but does not show it"}
}

// ResetSecureBootKeys implements bmc.SecureBoot.
func (s *System) ResetSecureBootKeys(ctx context.Context, k bmc.KeyReset) (bmc.Op, error) {
	op := "reset Secure Boot keys: " + clip(string(k))
	uri, sb, _, err := s.secureBootAt(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	reset := sb.Actions.Reset
	if reset.Target == "" {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no reset of Secure Boot keys"}
	}
	allowed := words(reset.Allowed)
	if len(allowed) == 0 {
		params, err := s.actionParameters(ctx, op, reset.Info)
		if err != nil {
			return bmc.Op{}, err
		}
		for _, p := range params {
			if p.Name == "ResetKeysType" {
				allowed = words(p.Allowed)
			}
		}
	}
	kind := string(k)
	if len(allowed) > 0 {
		if kind = pick([]string{kind}, allowed); kind == "" {
			return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC allows " + some(allowed)}
		}
	}
	o := bmc.Op{Kind: opSecureBoot, Resource: uri, Want: map[string]string{}, NeedsReset: true}
	if sb.Mode != "" {
		o.Want[wantMode] = secureSetup
		if k == bmc.KeysToDefault {
			o.Want[wantMode] = secureUser
		}
	}
	return s.begin(ctx, call{
		op: op, method: http.MethodPost, uri: string(reset.Target), body: map[string]string{"ResetKeysType": kind},
	}, o)
}

// EnrollSecureBootCertificate implements bmc.SecureBoot.
func (s *System) EnrollSecureBootCertificate(ctx context.Context, database string, pemBytes []byte) (bmc.Op, error) {
	op := "enrol a certificate in " + clip(database)
	cert, err := oneCertificate(op, pemBytes)
	if err != nil {
		return bmc.Op{}, err
	}
	if strings.HasSuffix(database, "Default") {
		return bmc.Op{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the factory's databases do not change: name " + strings.TrimSuffix(clip(database), "Default")}
	}
	_, sb, _, err := s.secureBootAt(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	all, err := s.databases(ctx, op, sb)
	if err != nil {
		return bmc.Op{}, err
	}
	var uri string
	var names []string
	for _, d := range all {
		names = append(names, d.name())
		if strings.EqualFold(d.name(), database) {
			uri = string(d.Certificates)
		}
	}
	switch {
	case len(all) == 0:
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no Secure Boot databases"}
	case uri == "":
		return bmc.Op{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "there is no such database with certificates; name one of " + some(names)}
	}
	sum := sha256.Sum256(cert)
	before, err := s.hasCertificate(ctx, op, uri, hex.EncodeToString(sum[:]))
	if err != nil {
		return bmc.Op{}, err
	}
	o := bmc.Op{Kind: opSecureBoot, Resource: uri, Want: map[string]string{
		wantCertificate: hex.EncodeToString(sum[:]), wantCount: strconv.Itoa(before.count + 1),
	}}
	if before.found {
		o.Done = true
		return o, nil
	}
	o.NeedsReset = true
	if o, err = s.begin(ctx, call{op: op, method: http.MethodPost, uri: uri, body: map[string]string{
		"CertificateString": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		"CertificateType":   "PEM",
	}}, o); err != nil {
		return bmc.Op{}, err
	}
	p, err := s.readBackCertificate(ctx, op, o)
	o.Done = p.Done && o.Task == ""
	o.NeedsReset = !p.Done
	return o, err
}

// oneCertificate reads the one certificate in PEM. Anything else there is
// refused: a private key must not go to a BMC by mistake.
func oneCertificate(op string, in []byte) ([]byte, error) {
	wrong := func(detail string) error { return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: detail} }
	if len(in) > maxPEM {
		return nil, wrong("the PEM is longer than 64 KiB: give one certificate")
	}
	block, rest := pem.Decode(in)
	switch {
	case block == nil:
		return nil, wrong("there is no PEM block: give one certificate")
	case block.Type != "CERTIFICATE":
		return nil, wrong("the PEM block is a " + clip(block.Type) + ": give one certificate")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, wrong("there is more than one PEM block: give one certificate")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return nil, wrong("the certificate does not parse: give an X.509 certificate")
	}
	return block.Bytes, nil
}

// enrolled is what a database shows of a certificate.
type enrolled struct {
	found bool
	blind bool // it shows no certificate itself, but how many there are
	count int
}

// hasCertificate looks for a certificate by the SHA-256 of its DER.
func (s *System) hasCertificate(ctx context.Context, op, uri, sum string) (enrolled, error) {
	e := enrolled{blind: true}
	read := 0
	all, err := readMembers(ctx, s.e, op, uri, maxMembers, func(c certificate) (string, bool) {
		e.count++
		if c.String != "" || c.Type != "" || read == maxCertificates {
			return "", false
		}
		read++
		return string(c.ID), true
	})
	for _, c := range all {
		if block, _ := pem.Decode([]byte(c.String)); block != nil {
			got := sha256.Sum256(block.Bytes)
			e.found = e.found || hex.EncodeToString(got[:]) == sum
			e.blind = false
		}
	}
	return e, err
}

func (s *System) readBackSecureBoot(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	if o.Want[wantCertificate] != "" {
		return s.readBackCertificate(ctx, op, o)
	}
	var sb secureBoot
	if _, err := s.e.get(ctx, op, o.Resource, &sb); err != nil {
		return bmc.Progress{}, err
	}
	waits := bmc.Progress{Percent: -1, State: "Pending", Message: waitsForReset}
	if want, ok := o.Want[wantEnable]; ok && string(sb.Enable) != want {
		if sb.Settings.Object == "" {
			return bmc.Progress{Percent: -1, Message: "not taken yet"}, nil
		}
		var pending secureBoot
		if _, err := s.e.get(ctx, op, string(sb.Settings.Object), &pending); err != nil && !unsupported(err) {
			return bmc.Progress{}, err
		}
		if string(pending.Enable) != want {
			waits = bmc.Progress{Percent: -1, Message: "not taken yet"}
		}
		return waits, nil
	}
	if want, ok := o.Want[wantCurrent]; ok && !strings.EqualFold(string(sb.Current), want) {
		return waits, nil
	}
	if len(o.Want) == 0 {
		return bmc.Progress{Done: true, Percent: -1, Message: "the BMC does not show what became of the keys"}, nil
	}
	// With its factory keys a machine is in UserMode or DeployedMode, as it was
	// made; only without a platform key is it in SetupMode.
	if want, ok := o.Want[wantMode]; ok && (want == secureSetup) != strings.EqualFold(string(sb.Mode), secureSetup) {
		return waits, nil
	}
	return bmc.Progress{Done: true, Percent: 100}, nil
}

// readBackCertificate looks whether a certificate has come. A BMC that does not
// show certificates themselves is believed when their number is right.
func (s *System) readBackCertificate(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	e, err := s.hasCertificate(ctx, op, o.Resource, o.Want[wantCertificate])
	if err != nil {
		return bmc.Progress{}, err
	}
	want, err := strconv.Atoi(o.Want[wantCount])
	if e.found || e.blind && err == nil && e.count >= want {
		return bmc.Progress{Done: true, Percent: 100}, nil
	}
	return bmc.Progress{Percent: -1, State: "Pending", Message: waitsForReset}, nil
}
