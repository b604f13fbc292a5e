package open

import (
	"fmt"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// quirks reads an operator's list; the error names what a person must change.
func quirks(list string) (quirk.Override, error) {
	o, err := quirk.ParseOverride(list)
	if err != nil {
		return o, &bmc.Error{
			Class: bmc.BadRequest, Op: "read the list of quirks",
			Detail: fmt.Sprintf("quirks is %.80q: write names of docs/reference/quirks.md with commas between, and a minus before those to forbid", list),
			Err:    err,
		}
	}
	return o, nil
}
