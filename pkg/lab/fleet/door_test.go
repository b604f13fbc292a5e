package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	api "github.com/ingot-metal/ingot/api/agent"
)

// site is both doors of a server, as small as they can be: it hands the same
// steps to every machine that boots, one after the other, over real TLS with
// client certificates.
type site struct {
	boot, agent *httptest.Server
	ca          *x509.Certificate
	key         *ecdsa.PrivateKey

	mu       sync.Mutex
	manifest api.Manifest
	steps    []func(api.Inventory) api.Step
	chunks   map[string][]byte // by digest: frames and config drives
	hellos   []api.Hello
	results  map[string][]api.Result // by machine
	seen     map[string]api.Inventory
}

// newSite serves image, cut into chunks of chunkSize, to machines that are
// inspected, cleaned, written and rebooted.
func newSite(t *testing.T, image []byte, chunkSize int) *site {
	t.Helper()
	s := &site{chunks: map[string][]byte{}, results: map[string][]api.Result{}, seen: map[string]api.Inventory{}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if s.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	leaf := s.sign(t, &key.PublicKey, "server")
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	s.agent = httptest.NewUnstartedServer(s.agentMux(t))
	s.agent.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.agent.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, der}, PrivateKey: key}},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}
	s.agent.EnableHTTP2 = true
	s.agent.StartTLS()
	t.Cleanup(s.agent.Close)
	s.boot = httptest.NewServer(s.bootMux())
	t.Cleanup(s.boot.Close)

	s.manifest = s.cut(t, image, chunkSize)
	drive := []byte("a config drive")
	s.chunks[digestOf(drive)] = drive
	s.steps = []func(api.Inventory) api.Step{
		func(api.Inventory) api.Step { return api.Step{ID: "1", Kind: api.StepInspect} },
		func(inv api.Inventory) api.Step {
			var refs []api.DiskRef
			for _, d := range inv.Disks {
				refs = append(refs, refOf(d))
			}
			return api.Step{ID: "2", Kind: api.StepClean, Clean: &api.CleanStep{Disks: refs}}
		},
		func(inv api.Inventory) api.Step {
			return api.Step{ID: "3", Kind: api.StepWrite, Write: &api.WriteStep{
				Disk: refOf(inv.Disks[0]), Manifest: s.manifest, ChunkBase: s.boot.URL + "/images/sha256/",
				ConfigDrive: digestOf(drive), ConfigDriveSize: int64(len(drive)),
			}}
		},
		func(api.Inventory) api.Step { return api.Step{ID: "4", Kind: api.StepReboot} },
	}
	return s
}

func digestOf(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// cut makes chunks of an image and leaves out those that are zero.
func (s *site) cut(t *testing.T, image []byte, size int) api.Manifest {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := api.Manifest{Size: int64(len(image)), SHA256: digestOf(image), ChunkSize: int64(size)}
	for off := 0; off < len(image); off += size {
		raw := image[off:min(off+size, len(image))]
		if isZero(raw) {
			continue
		}
		frame := enc.EncodeAll(raw, nil)
		s.chunks[digestOf(frame)] = frame
		m.Chunks = append(m.Chunks, api.Chunk{Offset: int64(off), Length: int64(len(raw)), Stored: int64(len(frame)), Digest: digestOf(frame)})
	}
	return m
}

// sign makes a certificate for a server on loopback or for a client called name.
func (s *site) sign(t *testing.T, key any, name string) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, s.ca, key, s.key)
	if err != nil {
		t.Error(err)
	}
	return der
}

func (s *site) bootMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /boot/ipxe", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "#!ipxe\nkernel http://%[1]s/boot/kernel/vm initrd=i %[2]s=%[3]s %[4]s=%[5]s %[6]s=b1\ninitrd --name i http://%[1]s/boot/initrd/vm\nboot || goto failed\n",
			r.Host, api.ArgURL, s.agent.URL, api.ArgCA, digestOf(s.ca.Raw), api.ArgBoot)
	})
	mux.HandleFunc("GET /boot/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("bytes"))
	})
	mux.HandleFunc("GET /images/sha256/{digest}", s.blob)
	return mux
}

func (s *site) blob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text, ok := s.chunks[r.PathValue("digest")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(text)
}

func (s *site) agentMux(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	// A call that is cut short is no fault: agents give up polls.
	read := func(r *http.Request, v any) bool { return json.NewDecoder(r.Body).Decode(v) == nil }
	mux.HandleFunc("POST "+api.PathHello, func(w http.ResponseWriter, r *http.Request) {
		var h api.Hello
		if !read(r, &h) {
			return
		}
		csr, err := x509.ParseCertificateRequest(h.CSR)
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		s.hellos = append(s.hellos, h)
		s.mu.Unlock()
		answer(w, api.Welcome{Version: api.Version, Certificate: s.sign(t, csr.PublicKey, h.MACs[0]), Now: time.Now(), Host: "default/x", Epoch: 1})
	})
	who := func(r *http.Request) string { return r.TLS.PeerCertificates[0].Subject.CommonName }
	record := func(machine string, res api.Result) {
		s.results[machine] = append(s.results[machine], res)
		if res.Inventory != nil {
			s.seen[machine] = *res.Inventory
		}
	}
	mux.HandleFunc("POST "+api.PathNext, func(w http.ResponseWriter, r *http.Request) {
		var req api.NextRequest
		if !read(r, &req) {
			return
		}
		machine := who(r)
		s.mu.Lock()
		if req.Last != nil {
			record(machine, *req.Last)
		}
		n := len(s.results[machine])
		failed := n > 0 && s.results[machine][n-1].Error != nil
		step := api.Step{Kind: api.StepWait}
		if !failed && n < len(s.steps) {
			step = s.steps[n](s.seen[machine])
			step.Epoch = 1
		}
		s.mu.Unlock()
		if req.Running == step.ID && step.ID != "" || step.Kind == api.StepWait {
			select { // a long poll
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			step = api.Step{Kind: api.StepWait}
		}
		answer(w, step)
	})
	mux.HandleFunc("POST "+api.PathResult, func(w http.ResponseWriter, r *http.Request) {
		var res api.Result
		if !read(r, &res) {
			return
		}
		s.mu.Lock()
		record(who(r), res)
		s.mu.Unlock()
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST "+api.PathProgress, func(w http.ResponseWriter, _ *http.Request) { answer(w, struct{}{}) })
	mux.HandleFunc("GET "+api.PathSecret+"{digest}", s.blob)
	return mux
}

// last returns the latest result of a machine.
func (s *site) last(machine string) (api.Result, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.results[machine]
	if len(list) == 0 {
		return api.Result{}, false
	}
	return list[len(list)-1], true
}
