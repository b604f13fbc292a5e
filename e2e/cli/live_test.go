package cli_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/cli"
)

const available = `{"status":{"errorMessage":"","poweredOn":false,"operationalStatus":"OK","hardwareProfile":"","provisioning":{"state":"available","ID":"","image":{"url":""}}}}`

// newHost makes a host that is available.
func newHost(t *testing.T) (ns string) {
	t.Helper()
	ns, err := namespace()
	if err != nil {
		t.Fatal(err)
	}
	h := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Name: "w1", Namespace: ns}}
	h.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.1", CredentialsName: "s"}
	if err := shared.Create(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	play(t, ns, "BareMetalHost", available)
	return ns
}

// play is what the controller would write.
func play(t *testing.T, ns, kind, text string) {
	t.Helper()
	if err := putObject(ns, kind, "w1", text); err != nil {
		t.Fatal(err)
	}
}

func state(s, image string, on bool) string {
	return fmt.Sprintf(`{"status":{"poweredOn":%v,"provisioning":{"state":%q,"image":{"url":%q}}}}`, on, s, image)
}

func TestWatchHosts(t *testing.T) {
	ns := newHost(t)
	r := start(t, ns, cli.Stdio{}, "hosts", "--watch")
	r.until(t, "available")
	play(t, ns, "BareMetalHost", state("provisioning", "", true))
	play(t, ns, "HostRecord", `{"status":{"operation":{"kind":"provision","phase":"write"}}}`)
	r.until(t, "writing the image")
	r.stop()
	r.wait(t, 0)
	if n := strings.Count(r.out.String(), "NAME"); n != 1 {
		t.Errorf("%d headers:\n%s", n, r.out.String())
	}
}

func TestWatchHostsOnATerminal(t *testing.T) {
	ns := newHost(t)
	r := start(t, ns, cli.Stdio{Terminal: true}, "hosts", "-w")
	r.until(t, "\x1b[HNAME")
	play(t, ns, "BareMetalHost", state("provisioned", "", true))
	r.until(t, "provisioned   on")
	r.stop()
	r.wait(t, 0)
}

func TestWaitForPower(t *testing.T) {
	ns := newHost(t)
	r := start(t, ns, cli.Stdio{}, "power", "on", "w1", "--wait")
	r.until(t, "power on asked for")
	play(t, ns, "BareMetalHost", state("available", "", true))
	r.wait(t, 0)
	r.until(t, "w1: done, available, power on")
}

func TestWaitGivesUp(t *testing.T) {
	ns := newHost(t)
	r := start(t, ns, cli.Stdio{}, "power", "on", "w1", "--wait", "--timeout", "1s")
	r.wait(t, 1)
	r.until(t, "power on: not done after 1.0s: w1; see ingot explain w1")
}

func TestProvisionAndWait(t *testing.T) {
	const image = "http://images/debian.raw"
	for _, terminal := range []bool{false, true} {
		t.Run(fmt.Sprintf("terminal=%v", terminal), func(t *testing.T) {
			ns := newHost(t)
			r := start(t, ns, cli.Stdio{Terminal: terminal}, "provision", "w1", "--image", image, "--checksum", strings.Repeat("a", 64), "--wait")
			r.until(t, "provisioning asked for")
			play(t, ns, "BareMetalHost", state("provisioning", "", true))
			play(t, ns, "HostRecord", `{"status":{"operation":{"kind":"provision","phase":"write","stepID":"s1"}}}`)
			r.until(t, "writing the image")
			play(t, ns, "BareMetalHost", state("provisioned", image, true))
			r.wait(t, 0)
			r.until(t, "done, provisioned, power on")
		})
	}
}

// A host that will not move by itself ends the wait, with the words of explain.
func TestProvisionFails(t *testing.T) {
	ns := newHost(t)
	r := start(t, ns, cli.Stdio{}, "provision", "w1", "--image", "http://images/i", "--checksum", strings.Repeat("a", 64), "--wait")
	r.until(t, "provisioning asked for")
	play(t, ns, "BareMetalHost", state("provisioning", "", true))
	play(t, ns, "HostRecord", `{"status":{"problem":{"code":"image-checksum","seen":["want aaaa, got bbbb"],"facts":{"got":"bbbb"}}}}`)
	r.wait(t, 1)
	r.until(t, "image-checksum\n")
	r.until(t, "set spec.image.checksum to bbbb")
}

// door plays the server's side of /blobs/v1 and /progress/v1.
func door(t *testing.T, ns string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /blobs/v1", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil || n != r.ContentLength {
			http.Error(w, "cut short", http.StatusBadRequest)
			return
		}
		digest := hex.EncodeToString(sum.Sum(nil))
		answer := map[string]any{"digest": "sha256:" + digest, "size": n, "url": "http://10.77.0.1:6180/images/sha256/" + digest}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /progress/v1", func(w http.ResponseWriter, r *http.Request) {
		for done := 0; r.Context().Err() == nil; done++ {
			fmt.Fprintf(w, `{"host":"%s/w1","step":"write","done":%d,"total":1048576,"unit":"bytes"}`+"\n", ns, 262144+done)
			fmt.Fprintln(w, `{"host":"elsewhere/w1","step":"write","done":1,"total":2,"unit":"bytes"}`)
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "ingot-doors", Namespace: "kube-system"},
		Data:       map[string]string{"https": s.URL, "http": "http://10.77.0.1:6180", "ca": string(ca)},
	}
	if err := shared.Create(context.Background(), cm); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Delete(context.Background(), cm); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

func TestUploadAndProgress(t *testing.T) {
	ns := newHost(t)
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := start(t, ns, cli.Stdio{}, "provision", "w1", "--image", path)
	missing.wait(t, 1)
	missing.until(t, "start `ingot serve`")

	door(t, ns)
	digest := hex.EncodeToString(func() []byte { s := sha256.Sum256([]byte(strings.Repeat("x", 1<<20))); return s[:] }())
	wrong := start(t, ns, cli.Stdio{}, "provision", "w1", "--image", path, "--checksum", strings.Repeat("a", 64))
	wrong.wait(t, 1)
	wrong.until(t, "not the one that --checksum gives")

	r := start(t, ns, cli.Stdio{Terminal: true}, "provision", "w1", "--image", path, "--wait")
	r.until(t, "provisioning asked for")
	h := &metal3.BareMetalHost{}
	if err := shared.Get(context.Background(), client.ObjectKey{Namespace: ns, Name: "w1"}, h); err != nil {
		t.Fatal(err)
	}
	img := h.Spec.Image
	if img == nil || img.URL != "http://10.77.0.1:6180/images/sha256/"+digest || img.Checksum != digest || img.ChecksumType != "sha256" || img.DiskFormat == nil || *img.DiskFormat != "raw" || !h.Spec.Online {
		t.Fatalf("image %+v, online %v", img, h.Spec.Online)
	}
	play(t, ns, "BareMetalHost", state("provisioning", "", true))
	play(t, ns, "HostRecord", `{"status":{"operation":{"kind":"provision","phase":"write","stepID":"s1"}}}`)
	r.until(t, "of 1.0 MiB (25 %)")

	explained := start(t, ns, cli.Stdio{}, "explain", "w1")
	explained.wait(t, 0)
	explained.until(t, "writing the image, 256.")

	play(t, ns, "BareMetalHost", state("provisioned", img.URL, true))
	r.wait(t, 0)
}
