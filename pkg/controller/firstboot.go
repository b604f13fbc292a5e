package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/record"
)

// ErrReported says that an installation has reported already.
var ErrReported = errors.New("this installation has reported already")

// errNoReport is the same for a wrong token and a host that awaits no report.
var errNoReport = errors.New("no report is awaited")

// FirstBoot takes the report of an installed system. allowed judges its token.
func (c *Hosts) FirstBoot(ctx context.Context, k types.NamespacedName, allowed func(*metal3.BareMetalHost) bool, hostname string, keys []string) error {
	b := &metal3.BareMetalHost{}
	if err := c.Client.Get(ctx, k, b); err != nil {
		return errNoReport
	}
	switch b.Status.Provisioning.State {
	case metal3.StateProvisioning, metal3.StateProvisioned:
	default:
		return errNoReport
	}
	if !allowed(b) {
		return errNoReport
	}
	hr := &v1alpha1.HostRecord{}
	if err := c.Client.Get(ctx, k, hr); err == nil && hr.Status.FirstBoot != nil {
		return ErrReported
	}
	said := fmt.Sprintf("the installed system is up as %q", hostname)
	if len(keys) > 0 {
		said += ", SSH key " + strings.Join(keys, ", ")
	}
	c.post(k, post{Post: engine.Post{
		Extra: record.Extra{FirstBoot: &v1alpha1.FirstBoot{At: metav1.NewMicroTime(c.Now()), Hostname: hostname, SSHKeys: keys}},
		Note:  &engine.Note{Reason: "FirstBoot", Message: said},
	}})
	return nil
}
