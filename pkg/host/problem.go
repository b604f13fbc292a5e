package host

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"
)

// Class says what ends a problem.
type Class string

// The classes.
const (
	Retry Class = "retry" // tried again by itself, at NextTry
	Wait  Class = "wait"  // tried again when what is declared changes
)

// ErrorType is Metal3's status.errorType.
type ErrorType string

// The error types.
const (
	NoError                    ErrorType = ""
	RegistrationError          ErrorType = "registration error"
	ProvisionedRegistrationErr ErrorType = "provisioned registration error"
	InspectionError            ErrorType = "inspection error"
	PreparationError           ErrorType = "preparation error"
	ProvisioningError          ErrorType = "provisioning error"
	PowerManagementError       ErrorType = "power management error"
	ServicingError             ErrorType = "servicing error"
)

// Problem is why a host stands still. Code is a diagnosis of pkg/explain; Seen is
// its evidence, Facts fill its remedy.
type Problem struct {
	Code  string
	Class Class
	Seen  []string
	Facts map[string]string

	// Set by Step.
	Type       ErrorType
	Since      time.Time
	Attempts   int
	NextTry    time.Time // zero: it waits for a change
	Generation int64     // declared generation it was met at
	Secret     string    // Secret versions it was met at
}

// errorType is what Metal3 calls a failure of op in state s.
func errorType(kind OpKind, s State) ErrorType {
	switch kind {
	case OpVerify:
		switch s {
		case Provisioned, ExternallyProvisioned, Provisioning, Deprovisioning:
			return ProvisionedRegistrationErr
		}
		return RegistrationError
	case OpInspect:
		return InspectionError
	case OpPrepare:
		return PreparationError
	case OpService:
		return ServicingError
	case OpProvision, OpDeprovision:
		return ProvisioningError
	}
	return PowerManagementError
}

// silentFor bounds, in units, how long a BMC that cannot be verified is left
// alone: with Metal3's eight hours, nobody would see that a cable is back.
const silentFor = 15

// backoff is Metal3's: 2^n units, n at most 9, less up to half of it. The share
// taken off follows from the host's key and the attempt, so that Step stays pure
// and hosts that failed together do not come back together.
func (m Machine) backoff(kind OpKind, key string, attempts int) time.Duration {
	d := m.RetryUnit << min(max(attempts, 1), 9)
	if kind == OpVerify {
		d = min(d, silentFor*m.RetryUnit)
	}
	sum := fnv.New32a()
	fmt.Fprintf(sum, "%s/%d", key, attempts)
	return d - time.Duration(float64(d)/2*float64(sum.Sum32())/math.MaxUint32)
}
