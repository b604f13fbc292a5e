package serve

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/controller"
	"github.com/ingot-metal/ingot/pkg/engine"
)

// firstBoot takes the report of an installed system: it proves by its token that
// it read the config drive that we wrote. Nothing waits for it.
type firstBoot struct {
	hosts *controller.Hosts
	ca    *auth.CA
	peers *peers
}

// Bounds of a report.
const (
	maxReport   = 16 << 10
	maxHostname = 253
	maxKeys     = 8
	maxKey      = 128
)

func (f firstBoot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Host     string   `json:"host"`
		Token    string   `json:"token"`
		Hostname string   `json:"hostname"`
		SSHKeys  []string `json:"sshKeys"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	ns, name, ok := strings.Cut(in.Host, "/")
	if !ok || len(in.Hostname) > maxHostname || len(in.SSHKeys) > maxKeys {
		http.Error(w, "want host as namespace/name, a hostname of at most 253 bytes and at most 8 sshKeys", http.StatusBadRequest)
		return
	}
	if door := f.hosts.Door(types.NamespacedName{Namespace: ns, Name: name}); door != "" && r.Header.Get(forwarded) == "" {
		f.peers.relay(w, r, door, body)
		return
	}
	for i, k := range in.SSHKeys {
		in.SSHKeys[i] = strings.ToValidUTF8(k[:min(len(k), maxKey)], "")
	}
	err = f.hosts.FirstBoot(r.Context(), types.NamespacedName{Namespace: ns, Name: name}, func(b *metal3.BareMetalHost) bool {
		want := f.ca.Token(engine.FirstBootPurpose(b))
		return subtle.ConstantTimeCompare([]byte(want), []byte(in.Token)) == 1
	}, strings.ToValidUTF8(in.Hostname, ""), in.SSHKeys)
	switch {
	case errors.Is(err, controller.ErrReported):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, "this token opens no report", http.StatusForbidden)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
