package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// A machine is switched off at its panel, with an hour until the next poll: its
// host shows it within two seconds, because the BMC says so to the door, and it is
// switched on again. The BMC is told to be silent when the host is deleted.
func TestBMCEvents(t *testing.T) {
	dir := dataDir(t)
	p := start(t, anywhere("serve", dir, "--power-poll", "1h")...)
	doors := p.ready()
	f, err := fleet.New(fleet.Config{Count: 1, Seed: 1, BootURL: doors[2], Events: true, Latency: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := f.Machines()[0]
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := labClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Namespace: "default", Name: m.Name}
	secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"username": m.Username, "password": m.Password}}
	b := &metal3.BareMetalHost{ObjectMeta: *meta.DeepCopy()}
	b.Annotations = map[string]string{metal3.InspectAnnotationPrefix: "disabled"}
	b.Spec.BMC = metal3.BMCDetails{Address: m.Address, CredentialsName: m.Name}
	b.Spec.BootMACAddress, b.Spec.AutomatedCleaningMode, b.Spec.Online = m.MAC, metal3.CleaningModeDisabled, true
	for _, o := range []client.Object{secret, b} {
		if err := k.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, within time.Duration, done func() bool) time.Duration {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if done() {
				return time.Since(begun)
			}
			if time.Since(begun) > within {
				t.Fatalf("not %s within %s; the BMC was asked %+v", what, within, m.BMC().Stats())
			}
		}
	}
	read := func() *metal3.BareMetalHost {
		if err := k.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	await("available and on", limit, func() bool {
		return read().Status.Provisioning.State == metal3.StateAvailable && b.Status.PoweredOn
	})
	await("subscribed to", limit, func() bool { return len(subscriptions(t, m)) == 1 })
	for range 3 {
		if err := m.BMC().Panel(t.Context(), simbmc.ForceOff); err != nil {
			t.Fatal(err)
		}
		d := await("seen to be off", 2*time.Second, func() bool { return !read().Status.PoweredOn })
		t.Logf("switched off at the panel: status.poweredOn is false after %s", d.Round(time.Millisecond))
		await("on again", limit, func() bool { return read().Status.PoweredOn })
	}
	if err := k.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	await("let go of", limit, func() bool { return len(subscriptions(t, m)) == 0 })
}

// subscriptions of the machine's BMC, as it lists them.
func subscriptions(t *testing.T, m *fleet.Machine) []string {
	t.Helper()
	u, err := url.Parse(strings.TrimPrefix(m.Address, "redfish+"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/redfish/v1/EventService/Subscriptions"
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), u.Path+"/")[1:]
}
