package open

import (
	"context"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// TestBadQuirksNameTheFieldAndTheRemedy: nothing is sent with a list that a
// person must correct first, whatever the protocol.
func TestBadQuirksNameTheFieldAndTheRemedy(t *testing.T) {
	for _, address := range []string{"redfish+http://127.0.0.1:1", "ipmi://127.0.0.1:1"} {
		_, err := Open(context.Background(), address, bmc.Credentials{}, Options{Quirks: "vmedia-pach"})
		if bmc.ClassOf(err) != bmc.BadRequest {
			t.Errorf("%s: class %q of %v", address, bmc.ClassOf(err), err)
		}
		for _, want := range []string{`quirks is "vmedia-pach"`, "docs/reference/quirks.md", "closest are vmedia-patch"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", address, err, want)
			}
		}
	}
}
