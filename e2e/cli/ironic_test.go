package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// ironic starts an Ironic that gives the recorded answers of a real one
// (pkg/fromironic/testdata), and puts its URL into $IRONIC. What an import has not to
// do is answered with an error.
func ironic(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(here, "..", "..", "pkg", "fromironic", "testdata")
	password := ""
	if len(args) > 0 {
		password = args[0]
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", "1.82")
		plural := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")[0]
		_, given, _ := r.BasicAuth()
		switch {
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/v1":
			_ = json.NewEncoder(w).Encode(map[string]string{"id": "v1"})
		case given != password:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			text, err := os.ReadFile(filepath.Join(dir, filepath.Base(plural)+".json"))
			if err != nil {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = w.Write(text)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv("IRONIC", s.URL)
}
