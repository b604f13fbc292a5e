package record

import "github.com/ingot-metal/ingot/pkg/host"

// Reasons of a host's events, as Metal3 has them; alerts match on them.
const (
	ReasonDiscovered             = "Discovered"
	ReasonCredentialError        = "BMCCredentialError"
	ReasonAccessValidated        = "BMCAccessValidated"
	ReasonProfileSet             = "ProfileSet"
	ReasonUpdateHardwareDetails  = "UpdateHardwareDetails" // the hardwaredetails annotation was taken over
	ReasonRemoveAnnotation       = "RemoveAnnotation"      // it was removed, and not taken over
	ReasonInspectionSkipped      = "InspectionSkipped"
	ReasonInvalidAnnotation      = "InvalidAnnotationValue"
	ReasonRegistered             = "Registered"
	ReasonInspectionStarted      = "InspectionStarted"
	ReasonInspectionComplete     = "InspectionComplete"
	ReasonProvisioningStarted    = "ProvisioningStarted"
	ReasonProvisioningComplete   = "ProvisioningComplete"
	ReasonDeprovisioningStarted  = "DeprovisioningStarted"
	ReasonDeprovisioningComplete = "DeprovisioningComplete"
	ReasonPowerOn                = "PowerOn"
	ReasonPowerOff               = "PowerOff"
	ReasonValidationFailed       = "ValidationFailed" // of HostFirmwareSettings and HostFirmwareComponents
	ReasonImageAuthFormat        = "ImageAuthFormatUnsupported"
	ReasonImageAuthParse         = "ImageAuthParseError"
)

// ReasonHealthChanged is ingot's: the BMC says something else of its machine.
const ReasonHealthChanged = "HealthChanged"

// errorReasons are Metal3's reasons of an error type. That of detaching is named by
// its text: the life cycle does not fail at it.
var errorReasons = map[host.ErrorType]string{
	host.RegistrationError:          "RegistrationError",
	host.ProvisionedRegistrationErr: "ProvisionedRegistrationError",
	host.InspectionError:            "InspectionError",
	host.PreparationError:           "PreparationError",
	host.ProvisioningError:          "ProvisioningError",
	host.PowerManagementError:       "PowerManagementError",
	host.ServicingError:             "ServicingError",
	"detach error":                  "DetachError",
}

// ErrorReason is the reason of the event that tells of a problem. What is wrong
// with the declared address or credentials has one of its own.
func ErrorReason(p *host.Problem) string {
	registration := p.Type == host.RegistrationError || p.Type == host.ProvisionedRegistrationErr
	if registration && (p.Code == "bmc-secret-missing" || p.Code == "bmc-address-syntax") {
		return ReasonCredentialError
	}
	if r, ok := errorReasons[p.Type]; ok {
		return r
	}
	return "Error" // of a type that Metal3 does not have
}
