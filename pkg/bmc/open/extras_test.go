package open

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// TestExtrasAreOneNamedProvider: a host gets the provider that it names and no
// other, and nothing is sent to find one out.
func TestExtrasAreOneNamedProvider(t *testing.T) {
	var asked []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	for _, tt := range []struct{ extras, want string }{
		{"amt", "POST /wsman"},
		{"asrockrack", "POST /api/session"},
		{"ipmitool", ""},
	} {
		asked = nil
		conn, err := Open(context.Background(), "redfish+"+s.URL, admin, Options{Extras: tt.extras, Insecure: true})
		if err == nil || conn != nil {
			t.Errorf("%s: %v, %v", tt.extras, conn, err)
		}
		if got := strings.Join(asked, ", "); got != tt.want {
			t.Errorf("%s: asked %q, want %q", tt.extras, got, tt.want)
		}
		if tt.want == "" && bmc.ClassOf(err) != bmc.BadRequest {
			t.Errorf("%s: %v", tt.extras, err)
		}
	}
}
