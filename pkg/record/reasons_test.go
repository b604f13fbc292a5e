package record

import (
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/pkg/host"
)

// The reasons are what people's alerts match on.
func TestReasons(t *testing.T) {
	for name, got := range map[string]string{
		"Discovered": ReasonDiscovered, "BMCCredentialError": ReasonCredentialError, "BMCAccessValidated": ReasonAccessValidated,
		"ProfileSet": ReasonProfileSet, "UpdateHardwareDetails": ReasonUpdateHardwareDetails, "RemoveAnnotation": ReasonRemoveAnnotation,
		"InspectionSkipped": ReasonInspectionSkipped, "InvalidAnnotationValue": ReasonInvalidAnnotation, "Registered": ReasonRegistered,
		"InspectionStarted": ReasonInspectionStarted, "InspectionComplete": ReasonInspectionComplete,
		"ProvisioningStarted": ReasonProvisioningStarted, "ProvisioningComplete": ReasonProvisioningComplete,
		"DeprovisioningStarted": ReasonDeprovisioningStarted, "DeprovisioningComplete": ReasonDeprovisioningComplete,
		"PowerOn": ReasonPowerOn, "PowerOff": ReasonPowerOff, "ValidationFailed": ReasonValidationFailed,
		"ImageAuthFormatUnsupported": ReasonImageAuthFormat, "ImageAuthParseError": ReasonImageAuthParse,
	} {
		if got != name {
			t.Errorf("%q is not %q", got, name)
		}
	}
	for _, tc := range []struct {
		kind host.ErrorType
		code string
		want string
	}{
		{kind: host.RegistrationError, code: "bmc-secret-missing", want: "BMCCredentialError"},
		{kind: host.ProvisionedRegistrationErr, code: "bmc-address-syntax", want: "BMCCredentialError"},
		{kind: host.RegistrationError, code: "bmc-auth", want: "RegistrationError"},
		{kind: host.ProvisionedRegistrationErr, code: "bmc-auth", want: "ProvisionedRegistrationError"},
		{kind: host.InspectionError, want: "InspectionError"},
		{kind: host.PreparationError, want: "PreparationError"},
		{kind: host.ProvisioningError, want: "ProvisioningError"},
		{kind: host.PowerManagementError, want: "PowerManagementError"},
		{kind: "servicing error", want: "ServicingError"},
		{kind: "detach error", want: "DetachError"},
		{kind: "unheard of", want: "Error"},
	} {
		if got := ErrorReason(&host.Problem{Type: tc.kind, Code: tc.code}); got != tc.want {
			t.Errorf("%s, %s: %q, want %q", tc.kind, tc.code, got, tc.want)
		}
	}
	for _, typ := range errorTypes() {
		if ErrorReason(&host.Problem{Type: typ}) == "Error" {
			t.Errorf("%s has no reason", typ)
		}
	}
}

func TestHealthyCondition(t *testing.T) {
	for _, tc := range []struct {
		name string
		host host.Host
		want string
		back host.Health
	}{
		{name: "fine", host: host.Host{State: host.Available, Health: host.Healthy}, want: "True Healthy", back: host.Healthy},
		{name: "a warning", host: host.Host{State: host.Provisioned, Health: host.HealthWarning}, want: "False Warning", back: host.HealthWarning},
		{name: "critical", host: host.Host{State: host.Provisioned, Health: host.HealthCritical}, want: "False CriticalError", back: host.HealthCritical},
		{name: "not said", host: host.Host{State: host.Provisioned}, want: "Unknown Unknown"},
		{name: "not registered", host: host.Host{State: host.Registering, Health: host.Healthy}, want: "Unknown Unknown"},
		{
			name: "not reached", want: "Unknown Unknown",
			host: host.Host{State: host.Provisioned, Health: host.Healthy, Problem: &host.Problem{Type: host.ProvisionedRegistrationErr}},
		},
		{name: "another trouble", host: host.Host{State: host.Available, Health: host.Healthy, Problem: &host.Problem{Type: host.PowerManagementError}}, want: "True Healthy", back: host.Healthy},
		{name: "detached", host: host.Host{State: host.Provisioned, Health: host.Healthy, Detached: true}, want: "Unknown Unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := declared(nil)
			b.Status = BMHStatus(tc.host, b, id, time.Unix(1, 0))
			c := apimeta.FindStatusCondition(b.Status.Conditions, metal3.HealthyCondition)
			if c == nil {
				t.Fatal("there is no such condition")
			}
			if got := string(c.Status) + " " + c.Reason; got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			// A restart takes it up again, so that nothing is written for it.
			stamp := metav1.NewTime(time.Unix(1, 0))
			b.Status.LastUpdated = &stamp
			if got := Load(b, nil, host.Wants{}).Health; got != tc.back {
				t.Errorf("after a restart it is %q, want %q", got, tc.back)
			}
		})
	}
}
