package engine

import (
	"context"
	"errors"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/host"
)

// NewProblem is a problem of the catalogue, with what was seen.
func NewProblem(code string, facts map[string]string, seen ...string) *host.Problem {
	class := host.Retry
	if (explain.Problem{Code: code}).Class() != explain.Retry {
		class = host.Wait
	}
	return &host.Problem{Code: code, Class: class, Seen: seen, Facts: facts}
}

// codes of the classes, where an error does not name its own.
var classCode = map[bmc.Class]string{
	bmc.Unreachable:  "bmc-unreachable",
	bmc.TLSIdentity:  "bmc-tls-untrusted",
	bmc.Auth:         "bmc-auth",
	bmc.Forbidden:    "bmc-forbidden",
	bmc.Unsupported:  "bmc-unsupported",
	bmc.Busy:         "bmc-slow",
	bmc.Precondition: "bmc-transient",
	bmc.BadRequest:   "bmc-refused-request",
	bmc.Transient:    "bmc-transient",
	bmc.Protocol:     "bmc-protocol",
}

func bmcProblem(ctx context.Context, in Input, err error) *host.Problem {
	return BMCProblem(ctx, in.BMH, err)
}

// BMCProblem sorts what went wrong with a host's BMC.
func BMCProblem(ctx context.Context, b *metal3.BareMetalHost, err error) *host.Problem {
	facts := map[string]string{
		"host": b.Name, "namespace": b.Namespace,
		"address": b.Spec.BMC.Address, "secret": b.Spec.BMC.CredentialsName,
	}
	var e *bmc.Error
	code := ""
	if errors.As(err, &e) {
		code = e.Code
	}
	if code == "" {
		code = classCode[bmc.ClassOf(err)]
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		if _, known := explain.Lookup(code); !known || code == "bmc-transient" {
			code = "bmc-slow"
		}
	}
	return NewProblem(code, facts, err.Error())
}
