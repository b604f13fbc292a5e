package redfish

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	securePath = sysPath + "/SecureBoot"
	dbPath     = securePath + "/SecureBootDatabases"
	keysPath   = securePath + "/Actions/SecureBoot.ResetKeys"
)

// testCertificate makes a certificate, in PEM.
func testCertificate(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// newSecure is a board with Secure Boot off, and databases db (one certificate),
// dbx (certificates not shown), PK (empty) and a factory's.
func newSecure(t *testing.T) *board {
	b := newBoard(t, func(b *board, w boardWrite) boardReply {
		switch w.Path {
		case securePath:
			maps.Copy(b.docs[securePath], w.json)
		case keysPath:
		case dbPath + "/db/Certificates":
			all := b.docs[w.Path]["Members"].([]any)
			p := fmt.Sprintf("%s/%d", w.Path, len(all)+1)
			b.docs[p] = map[string]any{"@odata.id": p, "CertificateString": w.json["CertificateString"], "CertificateType": "PEM"}
			b.docs[w.Path]["Members"] = append(all, map[string]any{"@odata.id": p})
			return boardReply{code: http.StatusCreated, location: p}
		default:
			return boardReply{code: http.StatusMethodNotAllowed}
		}
		return boardReply{}
	})
	b.change(func(s map[string]any) { s["SecureBoot"] = map[string]any{"@odata.id": securePath} })
	b.put(securePath, `{"SecureBootEnable": false, "SecureBootCurrentBoot": "Disabled", "SecureBootMode": "UserMode",
		"SecureBootDatabases": {"@odata.id": "`+dbPath+`"},
		"Actions": {"#SecureBoot.ResetKeys": {"target": "`+keysPath+`", "ResetKeysType@Redfish.AllowableValues": ["ResetAllKeysToDefault", "DeleteAllKeys"]}}}`)
	members := []any{}
	for _, d := range []string{"PK", "db", "dbx", "dbDefault"} {
		p := dbPath + "/" + d
		members = append(members, map[string]any{"@odata.id": p})
		if d == "dbDefault" {
			continue // reading it would be an error
		}
		b.put(p, `{"@odata.id": "`+p+`", "DatabaseId": "`+d+`", "Certificates": {"@odata.id": "`+p+`/Certificates"}}`)
		if d != "dbx" {
			b.put(p+"/Certificates", `{"Members": []}`)
		}
	}
	b.docs[dbPath] = map[string]any{"Members": members}
	one := dbPath + "/db/Certificates/1"
	b.docs[dbPath+"/db/Certificates"]["Members"] = []any{map[string]any{"@odata.id": one}}
	b.docs[one] = map[string]any{"@odata.id": one, "CertificateString": strings.ReplaceAll(string(testCertificate(t, "maker")), "\n", "\r\n"), "CertificateType": "PEM"}
	return b
}

func TestSecureBoot(t *testing.T) {
	ctx := context.Background()
	b := newSecure(t)
	got, err := dialBoard(t, b).SecureBoot(ctx)
	want := bmc.SecureBootState{Mode: "UserMode", Databases: map[string]int{"PK": 0, "db": 1, "dbx": -1}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("state (-want +got), %v:\n%s", err, d)
	}
	b = newSecure(t) // NVIDIA's OpenBMC shows no state at all
	for _, p := range []string{"SecureBootEnable", "SecureBootCurrentBoot", "SecureBootMode", "SecureBootDatabases"} {
		delete(b.docs[securePath], p)
	}
	s := dialBoard(t, b)
	if got, err := s.SecureBoot(ctx); err != nil || !got.Unknown || got.Databases != nil {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = s.SetSecureBoot(ctx, true)
	wantError(t, err, bmc.Unsupported, "", "cannot be switched")
	_, err = s.EnrollSecureBootCertificate(ctx, "db", testCertificate(t, "x"))
	wantError(t, err, bmc.Unsupported, "", "no Secure Boot databases")
	_, err = dialBoard(t, newFake(t)).SecureBoot(ctx)
	wantError(t, err, bmc.Unsupported, "", "no Secure Boot")
}

func TestSetSecureBoot(t *testing.T) {
	ctx := context.Background()
	waits := bmc.Progress{Percent: -1, State: "Pending", Message: "waits for a reset of the machine"}
	b := newSecure(t)
	s := dialBoard(t, b)
	o, err := s.SetSecureBoot(ctx, true)
	want := bmc.Op{Kind: "secure-boot", Resource: securePath, NeedsReset: true, Want: map[string]string{"SecureBootEnable": "true", "SecureBootCurrentBoot": "Enabled"}}
	if d := cmp.Diff(want, o); d != "" || err != nil {
		t.Errorf("operation (-want +got), %v:\n%s", err, d)
	}
	if len(b.sent) != 1 || b.sent[0].Body != `{"SecureBootEnable":true}` {
		t.Errorf("sent %+v", b.sent)
	}
	if p, err := s.Poll(ctx, o); p != waits || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if again, err := s.SetSecureBoot(ctx, true); err != nil || len(b.sent) != 1 || !again.NeedsReset {
		t.Errorf("what waits is written again: %+v, %v, %+v", again, err, b.sent)
	}
	b.edit(securePath, func(d map[string]any) { d["SecureBootCurrentBoot"] = "Enabled" })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if again, err := s.SetSecureBoot(ctx, true); err != nil || len(b.sent) != 1 || !again.Done {
		t.Errorf("%+v, %v, %+v", again, err, b.sent)
	}

	b = newSecure(t) // at a settings object, as AMI has it
	staged := securePath + "/SD"
	b.docs[securePath]["@Redfish.Settings"] = map[string]any{"SettingsObject": map[string]any{"@odata.id": staged}}
	b.put(staged, `{"@odata.etag": "\"s\"", "SecureBootEnable": false}`)
	b.handle = func(b *board, w boardWrite) boardReply {
		if w.Path == staged && w.Match == `"s"` {
			b.docs[staged]["SecureBootEnable"] = true
			return boardReply{}
		}
		return boardReply{code: 400}
	}
	s = dialBoard(t, b)
	o, err = s.SetSecureBoot(ctx, true)
	if err != nil || !o.NeedsReset {
		t.Errorf("%+v, %v", o, err)
	}
	if p, err := s.Poll(ctx, o); p != waits || err != nil {
		t.Errorf("%+v, %v", p, err)
	}

	b = newSecure(t)
	b.handle = func(*board, boardWrite) boardReply { return boardReply{} }
	_, err = dialBoard(t, b).SetSecureBoot(ctx, true)
	wantError(t, err, bmc.Protocol, "", "does not show it")
}

func TestResetSecureBootKeys(t *testing.T) {
	ctx := context.Background()
	b := newSecure(t)
	s := dialBoard(t, b)
	o, err := s.ResetSecureBootKeys(ctx, bmc.KeysDeleteAll)
	if err != nil || b.sent[0].Body != `{"ResetKeysType":"DeleteAllKeys"}` || !o.NeedsReset || o.Want["SecureBootMode"] != "SetupMode" {
		t.Fatalf("%+v, %v, %+v", o, err, b.sent)
	}
	if p, err := s.Poll(ctx, o); err != nil || p.Done || p.Message != waitsForReset {
		t.Errorf("%+v, %v", p, err)
	}
	b.edit(securePath, func(d map[string]any) { d["SecureBootMode"] = "SetupMode" })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	o, err = s.ResetSecureBootKeys(ctx, bmc.KeysToDefault)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Poll(ctx, o); err != nil || p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	b.edit(securePath, func(d map[string]any) { d["SecureBootMode"] = "DeployedMode" })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = s.ResetSecureBootKeys(ctx, bmc.KeysDeletePlat)
	wantError(t, err, bmc.Unsupported, "", "the BMC allows ResetAllKeysToDefault, DeleteAllKeys")

	b = newSecure(t) // Lenovo: the values are in an ActionInfo
	reset := b.docs[securePath]["Actions"].(map[string]any)["#SecureBoot.ResetKeys"].(map[string]any)
	delete(reset, "ResetKeysType@Redfish.AllowableValues")
	reset["@Redfish.ActionInfo"] = securePath + "/ResetKeysActionInfo"
	b.put(securePath+"/ResetKeysActionInfo", `{"Parameters": [{"AllowableValues": ["ResetAllKeysToDefault", "DeletePK"], "Required": true, "Name": "ResetKeysType"}]}`)
	s = dialBoard(t, b)
	if _, err := s.ResetSecureBootKeys(ctx, bmc.KeysDeletePlat); err != nil {
		t.Error(err)
	}
	_, err = s.ResetSecureBootKeys(ctx, bmc.KeysDeleteAll)
	wantError(t, err, bmc.Unsupported, "", "the BMC allows ResetAllKeysToDefault, DeletePK")

	delete(b.docs[securePath], "Actions")
	_, err = s.ResetSecureBootKeys(ctx, bmc.KeysToDefault)
	wantError(t, err, bmc.Unsupported, "", "no reset of Secure Boot keys")
}

func TestEnrollSecureBootCertificate(t *testing.T) {
	ctx := context.Background()
	cert := testCertificate(t, "site")
	b := newSecure(t)
	s := dialBoard(t, b)
	o, err := s.EnrollSecureBootCertificate(ctx, "db", append([]byte("a comment\n"), cert...))
	if err != nil || !o.Done || o.Resource != dbPath+"/db/Certificates" {
		t.Fatalf("%+v, %v", o, err)
	}
	if len(b.sent) != 1 || b.sent[0].json["CertificateString"] != string(cert) || b.sent[0].json["CertificateType"] != "PEM" {
		t.Errorf("sent %+v", b.sent)
	}
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if again, err := s.EnrollSecureBootCertificate(ctx, "db", cert); err != nil || !again.Done || len(b.sent) != 1 {
		t.Errorf("enrolled twice: %+v, %v, %+v", again, err, b.sent)
	}

	// Taken at the next start.
	b = newSecure(t)
	b.handle = func(*board, boardWrite) boardReply { return boardReply{code: 202} }
	s = dialBoard(t, b)
	o, err = s.EnrollSecureBootCertificate(ctx, "db", cert)
	if err != nil || o.Done || !o.NeedsReset {
		t.Fatalf("%+v, %v", o, err)
	}
	if p, err := s.Poll(ctx, o); err != nil || p.Done || p.Message != waitsForReset {
		t.Errorf("%+v, %v", p, err)
	}
	// Another one in its place is not the one that was asked for …
	add := func(doc map[string]any) {
		p := dbPath + "/db/Certificates/2"
		doc["@odata.id"] = p
		b.mu.Lock()
		defer b.mu.Unlock()
		b.docs[p] = doc
		all := b.docs[dbPath+"/db/Certificates"]
		all["Members"] = []any{all["Members"].([]any)[0], map[string]any{"@odata.id": p}}
	}
	add(map[string]any{"CertificateString": string(testCertificate(t, "other"))})
	if p, err := s.Poll(ctx, o); err != nil || p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	add(map[string]any{"CertificateString": string(cert)})
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	// … unless the BMC shows no certificates, but how many there are.
	add(map[string]any{"CertificateType": "PEM"})
	b.edit(dbPath+"/db/Certificates/1", func(d map[string]any) { delete(d, "CertificateString") })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}

	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("very secret")})
	for _, tc := range []struct {
		name, database string
		pem            []byte
		want           string
	}{
		{name: "private key", database: "db", pem: key, want: "is a PRIVATE KEY: give one certificate"},
		{name: "key behind", database: "db", pem: append(bytes.Clone(cert), key...), want: "more than one PEM block"},
		{name: "no PEM", database: "db", pem: []byte("hello"), want: "no PEM block"},
		{name: "no certificate", database: "db", pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), want: "does not parse"},
		{name: "too long", database: "db", pem: make([]byte, maxPEM+1), want: "longer than 64 KiB"},
		{name: "factory's", database: "dbDefault", pem: cert, want: "name db"},
		{name: "unknown", database: "db2", pem: cert, want: "name one of PK, db, dbx"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newSecure(t)
			_, err := dialBoard(t, b).EnrollSecureBootCertificate(ctx, tc.database, tc.pem)
			wantError(t, err, bmc.BadRequest, "", tc.want)
			if len(b.sent) > 0 || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, sent %+v", err, b.sent)
			}
		})
	}
}
