package metric

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ingot-metal/ingot/pkg/host"
)

// metal3 are the metrics of Metal3's operator. Their names are what dashboards
// know, two with a double underscore. Upstream forgot to register
// metal3_delete_without_powering_off_total and
// metal3_waiting_for_preprov_image_total.
type metal3 struct {
	reconciles, powerChanges, delayedProvisioning, delayedDeprovisioning *prometheus.CounterVec

	hostErrors, configDataErrors, stateChanges *prometheus.CounterVec

	reconcileErrors, credentialsMissing, credentialsInvalid, credentialsUnhandled, credentialsUpdated,
	noManagementAccess, registrationRequired, unmanaged, deleteWithoutDeprovisioning, deleteWithoutPowerOff,
	notReady, deleteDelayed, waitingForPreprovImage prometheus.Counter

	durations map[host.State]*prometheus.HistogramVec
}

// errorTypes are all values of metal3_host_error_total's label.
var errorTypes = []string{
	"provisioned registration error", "registration error", "inspection error", "preparation error",
	"provisioning error", "power management error", "servicing error", "detach error",
}

// dataTypes are the keys of the Secrets that a config drive is made of.
var dataTypes = []string{"userData", "networkData", "metaData"}

func newMetal3() metal3 {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	// An operation of a host takes from seconds to many minutes.
	slow := []float64{30, 90, 180, 360, 720, 1440}
	duration := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"namespace", "host"})
	}
	m := metal3{
		reconciles:            vec("metal3_reconcile_total", "The number of times hosts have been reconciled", "namespace", "host"),
		powerChanges:          vec("metal3_operation_power_change_total", "Number of times a host has been powered on or off", "namespace", "host", "on_off"),
		delayedProvisioning:   vec("metal3_delayed__provisioning_total", "The number of times hosts have been delayed while provisioning due to a busy provisioner; ingot has no limit that would delay them", "namespace", "host"),
		delayedDeprovisioning: vec("metal3_delayed__deprovisioning_total", "The number of times hosts have been delayed while deprovisioning due to a busy provisioner; ingot has no limit that would delay them", "namespace", "host"),

		hostErrors:       vec("metal3_host_error_total", "The number of errors of hosts", "error_type"),
		configDataErrors: vec("metal3_host_config_data_error_total", "Number of times a host's user data, network data or metadata could not be had", "host_data_type"),
		stateChanges:     vec("metal3_provisioning_state_change_total", "Number of times a state transition has occurred", "prev_state", "new_state"),

		reconcileErrors:             counter("metal3_reconcile_error_total", "The number of times the operator has failed to reconcile a host"),
		credentialsMissing:          counter("metal3_credentials_missing_total", "Number of times a host's credentials are found to be missing"),
		credentialsInvalid:          counter("metal3_credentials_invalid_total", "Number of times a host's credentials are found to be invalid"),
		credentialsUnhandled:        counter("metal3_credentials_unhandled_error_total", "Number of times getting a host's credentials fails in an unexpected way"),
		credentialsUpdated:          counter("metal3_credentials_updated_total", "Number of times a host's credentials change"),
		noManagementAccess:          counter("metal3_credentials_no_management_access_total", "Number of times a host's BMC cannot be used"),
		registrationRequired:        counter("metal3_host_registration_required_total", "Number of times the way to a host's BMC had to be verified"),
		unmanaged:                   counter("metal3_host_unmanaged_total", "Number of times a host is found to be unmanaged"),
		deleteWithoutDeprovisioning: counter("metal3_delete_without_deprovisioning_total", "Number of times a host is deleted despite deprovisioning failing"),
		deleteWithoutPowerOff:       counter("metal3_delete_without_powering_off_total", "Number of times a host is deleted despite powering off failing"),
		notReady:                    counter("metal3_provisioner_not_ready_total", "Number of times a host could not be worked on because the provisioner was not ready; ingot's is part of the process"),
		deleteDelayed:               counter("metal3_delete_delayed_for_detached_total", "Number of times a host's deletion waits for its detached annotation to go"),
		waitingForPreprovImage:      counter("metal3_waiting_for_preprov_image_total", "Number of times a preprovisioning image is required but not available"),

		durations: map[host.State]*prometheus.HistogramVec{
			host.Registering:    duration("metal3_operation_register_duration_seconds", "Length of time per registration per host", prometheus.DefBuckets),
			host.Inspecting:     duration("metal3_operation_inspect_duration_seconds", "Length of time per hardware inspection per host", slow),
			host.Provisioning:   duration("metal3_operation_provision_duration_seconds", "Length of time per hardware provision operation per host", slow),
			host.Deprovisioning: duration("metal3_operation_deprovision_duration_seconds", "Length of time per hardware deprovision operation per host", slow),
		},
	}
	for _, t := range errorTypes {
		m.hostErrors.WithLabelValues(t)
	}
	for _, t := range dataTypes {
		m.configDataErrors.WithLabelValues(t)
	}
	return m
}

func (m *metal3) all() []prometheus.Collector {
	out := []prometheus.Collector{
		m.reconciles, m.powerChanges, m.delayedProvisioning, m.delayedDeprovisioning,
		m.hostErrors, m.configDataErrors, m.stateChanges,
		m.reconcileErrors, m.credentialsMissing, m.credentialsInvalid, m.credentialsUnhandled, m.credentialsUpdated,
		m.noManagementAccess, m.registrationRequired, m.unmanaged, m.deleteWithoutDeprovisioning, m.deleteWithoutPowerOff,
		m.notReady, m.deleteDelayed, m.waitingForPreprovImage,
	}
	for _, d := range m.durations {
		out = append(out, d)
	}
	return out
}

// states counts the states that a host went through.
func (m *metal3) states(namespace, name string, before, after host.Host, now time.Time) {
	from, since := before.State, before.StateSince
	for _, to := range host.Entered(before, after) {
		m.stateChanges.WithLabelValues(string(from), string(to)).Inc()
		if d := m.durations[from]; d != nil && !since.IsZero() {
			d.WithLabelValues(namespace, name).Observe(max(now.Sub(since), 0).Seconds())
		}
		if to == host.Unmanaged {
			m.unmanaged.Inc()
		}
		from, since = to, now
	}
	switch {
	case after.GaveUp == before.GaveUp:
	case after.GaveUp == host.Deprovisioning:
		m.deleteWithoutDeprovisioning.Inc()
	case after.GaveUp == host.PoweringOffBeforeDelete:
		m.deleteWithoutPowerOff.Inc()
	}
}

// begun counts an operation that was begun.
func (m *metal3) begun(namespace, name string, op host.OpKind) {
	switch op {
	case host.OpVerify:
		m.registrationRequired.Inc()
	case host.OpPowerOn:
		m.powerChanges.WithLabelValues(namespace, name, "on").Inc()
	case host.OpPowerOff, host.OpReset:
		m.powerChanges.WithLabelValues(namespace, name, "off").Inc()
	}
}

// problem counts a failure.
func (m *metal3) problem(p host.Problem) {
	m.hostErrors.WithLabelValues(string(p.Type)).Inc()
	registration := p.Type == host.RegistrationError || p.Type == host.ProvisionedRegistrationErr
	switch {
	case p.Code == "bmc-secret-missing" && len(p.Seen) > 0 && strings.HasPrefix(p.Seen[0], "no Secret"):
		m.credentialsMissing.Inc()
	case p.Code == "bmc-secret-missing", registration && p.Code == "bmc-address-syntax":
		m.credentialsInvalid.Inc()
	case registration:
		m.noManagementAccess.Inc()
	case strings.HasPrefix(p.Code, "userdata-"):
		for _, t := range dataTypes {
			if p.Facts["key"] == t {
				m.configDataErrors.WithLabelValues(t).Inc()
			}
		}
	case strings.HasPrefix(p.Code, "ramdisk-"):
		m.waitingForPreprovImage.Inc()
	}
}

func (m *metal3) forget(namespace, name string) {
	for _, v := range []*prometheus.CounterVec{m.reconciles, m.delayedProvisioning, m.delayedDeprovisioning} {
		v.DeleteLabelValues(namespace, name)
	}
	for _, to := range []string{"on", "off"} {
		m.powerChanges.DeleteLabelValues(namespace, name, to)
	}
	for _, d := range m.durations {
		d.DeleteLabelValues(namespace, name)
	}
}
