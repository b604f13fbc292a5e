package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

var treeCreds = bmc.Credentials{Username: "admin", Password: "secret"}

// recordedTree is a BMC that answers as a recorded one does, and the way to it.
func recordedTree(t *testing.T, set string) (bmc.Conn, *treebmc.Server) {
	t.Helper()
	tree, err := treebmc.Mockup(set)
	if err != nil {
		t.Skip(err)
	}
	s, err := treebmc.New(tree, treebmc.Options{Username: treeCreds.Username, Password: treeCreds.Password})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	conn, err := open.Open(t.Context(), "redfish+"+srv.URL, treeCreds, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn, s
}

// treeBMC is a BMC behind TLS whose key can be replaced.
type treeBMC struct {
	*treebmc.Server
	url  string
	cert atomic.Pointer[tls.Certificate]
}

func newTreeBMC(t *testing.T, o treebmc.Options) *treeBMC {
	t.Helper()
	o.Username, o.Password = treeCreds.Username, treeCreds.Password
	s, err := treebmc.New(treebmc.Small(), o)
	if err != nil {
		t.Fatal(err)
	}
	b := &treeBMC{Server: s}
	b.newKey(t)
	srv := httptest.NewUnstartedServer(s)
	srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*b.cert.Load()}}, nil
	}}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	b.url = "redfish" + strings.TrimPrefix(srv.URL, "https")
	return b
}

func (b *treeBMC) newKey(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bmc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	b.cert.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// life is one run of the service with what the runs before have recorded.
type life struct {
	t    *testing.T
	pool *open.Pool
	e    *Engine
	in   Input
	rec  *v1alpha1.BMC
}

func newLife(t *testing.T, address string, rec *v1alpha1.BMC, annotations map[string]string) *life {
	t.Helper()
	l := &life{t: t, pool: open.NewPool(time.Minute), rec: rec}
	t.Cleanup(l.pool.Close)
	h := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", Annotations: annotations}}
	h.Spec.BMC.Address = address
	l.in = Input{Key: types.NamespacedName{Namespace: "rack", Name: "w1"}, BMH: h, HR: &v1alpha1.HostRecord{}, Creds: treeCreds}
	l.e = &Engine{Log: slog.New(slog.DiscardHandler)}
	l.e.BMCs = NewPooled(l.pool, func(context.Context, types.NamespacedName) (*v1alpha1.BMC, error) { return l.rec, nil }, l.e.Log)
	return l
}

// verify verifies the BMC and records what came of it, as pkg/record does.
func (l *life) verify() *host.Problem {
	l.t.Helper()
	p := l.e.verify(l.t.Context(), l.in, host.Action{})
	if b := p.Extra.BMC; b != nil {
		l.rec = b.DeepCopy()
		l.rec.Address, l.rec.Session = l.in.BMH.Spec.BMC.Address, p.Extra.Session
	}
	return p.Event.(host.Outcome).Problem
}

func (l *life) mustVerify() {
	l.t.Helper()
	if p := l.verify(); p != nil {
		l.t.Fatalf("problem %+v", p)
	}
}

func (l *life) mustRefuse() {
	l.t.Helper()
	if p := l.verify(); p == nil || p.Code != "bmc-tls-untrusted" {
		l.t.Fatalf("problem %+v, want bmc-tls-untrusted", p)
	}
}

func TestFirstUseIsPinned(t *testing.T) {
	b := newTreeBMC(t, treebmc.Options{})
	l := newLife(t, b.url, nil, nil)
	l.mustRefuse() // it is self-signed
	l.in.BMH.Annotations = map[string]string{open.AnnotationPin: open.PinFirstUse}
	l.mustVerify()
	pin := l.rec.SPKI
	if _, err := open.ParsePin(pin); err != nil {
		t.Fatalf("recorded is %q: %v", pin, err)
	}
	l.mustVerify() // now by the key
	if n := b.Sessions(); n != 1 {
		t.Errorf("%d sessions are open: the one of the first use was to be ended", n)
	}
	b.newKey(t)
	later := newLife(t, b.url, l.rec, l.in.BMH.Annotations)
	later.mustRefuse()
	// Removed, and seen so, it is a new first use.
	later.in.BMH.Annotations = nil
	later.mustRefuse()
	later.rec.SPKI = "" // pkg/record does it: TestSessionAndQuirksComeWithOtherWrites
	later.in.BMH.Annotations = map[string]string{open.AnnotationPin: open.PinFirstUse}
	later.mustVerify()
	if later.rec.SPKI == pin || later.rec.SPKI == "" {
		t.Errorf("recorded is %q", later.rec.SPKI)
	}
	// What a person gives goes before what was seen, and nothing is recorded.
	now := later.rec.SPKI
	later.in.BMH.Annotations[open.AnnotationPin] = pin
	later.mustRefuse()
	later.in.BMH.Annotations[open.AnnotationPin] = now
	later.mustVerify()
	if later.rec.SPKI != "" {
		t.Errorf("recorded is %q", later.rec.SPKI)
	}
	// A record of another address says nothing of this BMC.
	moved := newLife(t, b.url, &v1alpha1.BMC{Address: "redfish://elsewhere", SPKI: pin}, map[string]string{open.AnnotationPin: open.PinFirstUse})
	moved.mustVerify()
	broken := newLife(t, b.url, &v1alpha1.BMC{Address: b.url, SPKI: "sha256:zz"}, map[string]string{open.AnnotationPin: open.PinFirstUse})
	broken.mustRefuse()
}

func TestQuirksAreRecordedAndForced(t *testing.T) {
	b := newTreeBMC(t, treebmc.Options{})
	l := newLife(t, b.url, nil, map[string]string{open.AnnotationPin: open.PinFirstUse, open.AnnotationQuirks: "no-continuous,-etag-ladder"})
	l.mustVerify()
	got := strings.Join(l.rec.Quirks, ",")
	if !strings.Contains(got, "no-continuous") || strings.Contains(got, "etag-ladder") {
		t.Errorf("recorded are the quirks %s", got)
	}
	l.in.BMH.Annotations[open.AnnotationQuirks] = "no-such"
	if p := l.verify(); p == nil || p.Code != "bmc-options" || p.Class != host.Wait || p.Facts["host"] != "w1" {
		t.Errorf("problem %+v", p)
	}
}

func TestTheSessionOfAKilledProcessIsEnded(t *testing.T) {
	b := newTreeBMC(t, treebmc.Options{})
	pin := map[string]string{open.AnnotationPin: open.PinFirstUse}
	killed := newLife(t, b.url, nil, pin)
	killed.mustVerify()
	if killed.rec.Session == "" || b.Sessions() != 1 {
		t.Fatalf("session %q, %d open", killed.rec.Session, b.Sessions())
	}
	l := newLife(t, b.url, killed.rec, pin)
	l.mustVerify()
	if n := b.Sessions(); n != 1 || l.rec.Session == killed.rec.Session {
		t.Errorf("%d sessions are open, ours is %s", n, l.rec.Session)
	}
	ends := func() (n int) {
		for _, e := range b.Journal() {
			if e.Method == http.MethodDelete && e.Path == killed.rec.Session {
				n++
			}
		}
		return n
	}
	if ends() != 1 {
		t.Fatalf("%d times ended", ends())
	}
	l.mustVerify()
	if ends() != 1 {
		t.Error("it is ended again and again")
	}
}

func TestPollsGoBehind(t *testing.T) {
	r := newRig(t)
	seen := &priorities{board: r.board}
	r.BMCs = bmcs{conn: seen}
	if _, _, err := r.Glance(t.Context(), r.in); err != nil {
		t.Fatal(err)
	}
	r.do(host.Action{Verb: host.VerifyBMC})
	if len(seen.of) != 2 || seen.of[0] != bmc.Background || seen.of[1] != bmc.Interactive {
		t.Errorf("priorities %v", seen.of)
	}
}

// priorities is a BMC that notes how urgent the reads of its power are.
type priorities struct {
	*board
	of []bmc.Priority
}

func (p *priorities) PowerState(ctx context.Context) (bmc.PowerState, error) {
	p.of = append(p.of, bmc.PriorityOf(ctx))
	return p.board.PowerState(ctx)
}
