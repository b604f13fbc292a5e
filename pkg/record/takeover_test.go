package record

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// What a host without a record of ours is believed to be.
func TestTakenOver(t *testing.T) {
	img := &host.Image{URL: "http://i", Checksum: "c"}
	tests := []struct {
		name   string
		state  metal3.ProvisioningState
		err    metal3.ErrorType
		record *v1alpha1.HostRecord
		newer  Newer
		want   host.Host // its state, Provisioned, LastTried, FailCount and Dirty
	}{
		{name: "available", state: metal3.StateAvailable, want: host.Host{State: host.Available}},
		{
			name: "a write of which nobody knows how far it came is made anew", state: metal3.StateProvisioning,
			want: host.Host{State: host.Provisioning, LastTried: img, Dirty: true},
		},
		{
			name: "a failed one is undone first, and counted", state: metal3.StateProvisioning, err: metal3.ProvisioningError,
			newer: Newer{FailCount: 2, LastAttempted: &metal3.Image{URL: "http://i", Checksum: "c"}},
			want:  host.Host{State: host.Provisioning, FailCount: 3, Dirty: true},
		},
		{
			name: "provisioned, with the newer fields", state: metal3.StateProvisioned,
			newer: Newer{LastAttempted: &metal3.Image{URL: "http://i", Checksum: "c"}},
			want:  host.Host{State: host.Provisioned, LastTried: img, Dirty: true},
		},
		{name: "deprovisioning a failed write", state: metal3.StateDeprovisioning, want: host.Host{State: host.Deprovisioning, Dirty: true}},
		{
			name: "a record without a status knows nothing", state: metal3.StateProvisioning, record: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{ID: id}},
			want: host.Host{State: host.Provisioning, LastTried: img, Dirty: true},
		},
		{
			name: "a lost status, but what is on the disk is known", record: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Provisioned: "http://old"}},
			want: host.Host{State: host.Provisioned, Provisioned: &host.Image{URL: "http://old"}, Dirty: true},
		},
		{
			name: "a lost status of what a method installed", record: &v1alpha1.HostRecord{Spec: v1alpha1.HostRecordSpec{Provisioned: "customDeploy:install"}},
			want: host.Host{State: host.Provisioned, Provisioned: &host.Image{Method: "install"}, Dirty: true},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := declared(func(b *metal3.BareMetalHost) {
				b.Spec.Image = &metal3.Image{URL: "http://i", Checksum: "c"}
				b.Status.Provisioning.State, b.Status.ErrorType = tc.state, tc.err
				// As Metal3 writes it where there is no software RAID.
				b.Status.Provisioning.RAID = &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{}}
			})
			h := Inherit(Load(b, tc.record, Wants(b, secret("42", "admin", "pw"))), tc.newer)
			got := host.Host{State: h.State, Provisioned: h.Provisioned, LastTried: h.LastTried, FailCount: h.FailCount, Dirty: h.Dirty, SoftRAID: h.SoftRAID}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A status that came in an annotation is written as the schema wants it, with the
// fields of newer versions; what cannot be read is refused.
func TestRestored(t *testing.T) {
	s := readSchemas(t)
	const now = "2026-11-21T10:00:00Z"
	newer := &metal3.HardwareDetails{Hostname: "newer"}
	tests := []struct {
		name       string
		annotation string
		details    *metal3.HardwareDetails
		bad        bool
		want       func(*metal3.BareMetalHostStatus)
	}{
		{
			name: "part of a status", annotation: `{"provisioning":{"state":"provisioned","ID":"x"}}`,
			want: func(st *metal3.BareMetalHostStatus) {
				st.Provisioning.State, st.Provisioning.ID = metal3.StateProvisioned, "x"
			},
		},
		{
			name:       "servicing, and the HardwareData wins",
			annotation: `{"operationalStatus":"servicing","errorType":"servicing error","errorMessage":"m","errorCount":2,"hardware":{"hostname":"older"}}`,
			details:    newer,
			want: func(st *metal3.BareMetalHostStatus) {
				st.OperationalStatus, st.ErrorType, st.ErrorMessage, st.ErrorCount = metal3.OperationalStatusServicing, metal3.ServicingError, "m", 2
				st.HardwareDetails = newer
			},
		},
		{
			name: "an error type that Metal3's own schema lacks", annotation: `{"operationalStatus":"error","errorType":"detach error","errorMessage":"m"}`,
			want: func(st *metal3.BareMetalHostStatus) { st.OperationalStatus = metal3.OperationalStatusOK },
		},
		{name: "a state of a newer version", annotation: `{"provisioning":{"state":"levitating"}}`, bad: true},
		{name: "no JSON", annotation: `provisioned`, bad: true},
		{name: "no object", annotation: `[]`, bad: true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			patch, err := Restored(tc.annotation, tc.details, now)
			if (err != nil) != tc.bad {
				t.Fatalf("%v", err)
			}
			if tc.bad {
				return
			}
			b := declared(nil)
			if err := json.Unmarshal(patch, b); err != nil {
				t.Fatal(err)
			}
			if err := s.check(b); err != nil {
				t.Error(err)
			}
			stamp := metav1.NewTime(time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC))
			want := metal3.BareMetalHostStatus{LastUpdated: &stamp}
			tc.want(&want)
			if diff := cmp.Diff(want, b.Status); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	patch, err := Restored(`{"provisioningFailCount":3,"lastAttemptedImage":{"url":"http://i"},"provisioning":{"state":"available","steps":[1]}}`, nil, now)
	var all struct {
		Status struct {
			Newer
			Provisioning map[string]any
		}
	}
	if err == nil {
		err = json.Unmarshal(patch, &all)
	}
	if err != nil || all.Status.FailCount != 3 || all.Status.LastAttempted.URL != "http://i" || all.Status.Provisioning["steps"] == nil {
		t.Errorf("%v: %s", err, patch)
	}
}

func FuzzRestored(f *testing.F) {
	f.Add(`{"operationalStatus":"OK","provisioning":{"state":"provisioned","image":{"url":"http://i"}},"hardware":{}}`)
	f.Add(`{"provisioning":null,"lastUpdated":"x","errorCount":-1}`)
	f.Add(`{"errorType":7}`)
	f.Fuzz(func(t *testing.T, text string) {
		patch, err := Restored(text, nil, "2026-11-21T10:00:00Z")
		if err != nil {
			return
		}
		b := declared(nil)
		if err := json.Unmarshal(patch, b); err != nil {
			t.Errorf("%q became %s: %v", text, patch, err)
		}
	})
}

// A patch of the newer fields replaces them as a whole and nothing else.
func TestNewerPatch(t *testing.T) {
	raw, qcow2 := "raw", "qcow2"
	a := &metal3.Image{URL: "a", Checksum: "1", DiskFormat: &raw}
	tests := []struct {
		name     string
		old, now Newer
		want     string
	}{
		{name: "nothing new", old: Newer{FailCount: 1, LastAttempted: a}, now: Newer{FailCount: 1, LastAttempted: a}, want: `{"x":1}`},
		{name: "a count", now: Newer{FailCount: 2}, want: `{"provisioningFailCount":2,"x":1}`},
		{name: "a success", old: Newer{FailCount: 2}, want: `{"provisioningFailCount":0,"x":1}`},
		{
			name: "another image", old: Newer{LastAttempted: a}, now: Newer{LastAttempted: &metal3.Image{URL: "b", DiskFormat: &qcow2}},
			want: `{"lastAttemptedImage":{"checksum":null,"checksumType":null,"format":"qcow2","ociAuthSecretName":null,"url":"b"},"x":1}`,
		},
		{name: "no image", old: Newer{LastAttempted: a}, want: `{"lastAttemptedImage":null,"x":1}`},
	}
	for _, tc := range tests {
		got, err := withNewer([]byte(`{"x":1}`), tc.old, tc.now)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tc.name, err, got, tc.want)
		}
	}
}

// What is on the disk is kept beside the status, and written once.
func TestProvisionedSurvives(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(nil))
	h := host.Host{Key: "rack/w1", State: host.Provisioned, Provisioned: &host.Image{URL: "http://i"}, Seq: 7, Good: "42"}
	w.save(h, Extra{})
	hr := &v1alpha1.HostRecord{}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.objs.BMH), hr); err != nil || hr.Spec.Provisioned != "http://i" || hr.Status.BMC == nil {
		t.Errorf("%v, %+v", err, hr)
	}
	version := hr.ResourceVersion
	w.save(h, Extra{})
	if w.objs.HR.ResourceVersion != version {
		t.Error("written again")
	}
	h.State, h.Provisioned = host.Available, nil
	w.save(h, Extra{})
	if w.objs.HR.Spec.Provisioned != "" {
		t.Errorf("an available host has %q on its disk", w.objs.HR.Spec.Provisioned)
	}
}

func TestProvisionedText(t *testing.T) {
	for _, i := range []host.Image{{URL: "http://i"}, {Method: "m"}, {Method: "m", URL: "http://i?a=b"}} {
		if got := fromProvisionedText(provisionedText(i)); *got != i {
			t.Errorf("%+v came back as %+v", i, *got)
		}
	}
}
