package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Paths of the API. Hosts are enrolled the way any client would do it.
const (
	secretsPath = "/api/v1/namespaces/default/secrets"
	hostsPath   = "/apis/metal3.io/v1alpha1/namespaces/default/baremetalhosts"
	doorsPath   = "/api/v1/namespaces/kube-system/configmaps/ingot-doors"
)

// Types of a patch.
const (
	mergePatch = "application/merge-patch+json"
	plainJSON  = "application/json"
)

// kube speaks to the embedded API with as little work of its own as can be: it
// shares the cores with what is measured.
type kube struct {
	base    string
	client  *http.Client
	profile string // directory of profiles; empty: none
}

func newKube(kubeconfig, profile string) (*kube, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	return &kube{base: cfg.Host, client: c, profile: profile}, nil
}

// open makes a request; the caller closes the answer's body.
func (k *kube) open(ctx context.Context, method, path, kind string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.base+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		_ = res.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s (%w)", method, path, res.Status, text, err)
	}
	return res, nil
}

func (k *kube) do(ctx context.Context, method, path, kind string, body any) ([]byte, error) {
	res, err := k.open(ctx, method, path, kind, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// bootDoor is where machines boot from.
func (k *kube) bootDoor(ctx context.Context) (string, error) {
	raw, err := k.do(ctx, http.MethodGet, doorsPath, plainJSON, nil)
	if err != nil {
		return "", err
	}
	var doors struct{ Data struct{ HTTP string } }
	return doors.Data.HTTP, json.Unmarshal(raw, &doors)
}

// object is as much of a Kubernetes object as is written here.
type object map[string]any

// enrol creates a host and its Secret.
func (k *kube) enrol(ctx context.Context, m machine, annotations map[string]string, spec object) error {
	_, err := k.do(ctx, http.MethodPost, secretsPath, plainJSON, object{
		"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": m.Name + "-bmc"},
		"stringData": object{"username": m.Username, "password": m.Password},
	})
	if err != nil {
		return err
	}
	full := object{
		"bmc":            object{"address": m.Address, "credentialsName": m.Name + "-bmc"},
		"bootMACAddress": m.MAC,
	}
	for name, v := range spec {
		full[name] = v
	}
	_, err = k.do(ctx, http.MethodPost, hostsPath, plainJSON, object{
		"apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
		"metadata": object{"name": m.Name, "annotations": annotations}, "spec": full,
	})
	return err
}

// change merges into a host.
func (k *kube) change(ctx context.Context, m machine, patch object) error {
	_, err := k.do(ctx, http.MethodPatch, hostsPath+"/"+m.Name, mergePatch, patch)
	return err
}

// writes counts what the API was asked to write, by kind and verb.
func (k *kube) writes(ctx context.Context) (counts, error) {
	res, err := k.open(ctx, http.MethodGet, "/metrics", plainJSON, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return parseMetrics(res.Body)
}

// collect runs the server's garbage collector, so that what is measured is in
// use. The API serves Go's profiles to its administrator.
func (k *kube) collect(ctx context.Context) error {
	for range 2 { // what has a finalizer goes at the second
		if _, err := k.do(ctx, http.MethodGet, "/debug/pprof/heap?gc=1", plainJSON, nil); err != nil {
			return err
		}
	}
	return nil
}

// profiled writes a CPU profile of a stretch of the server's life, and the heap
// at its end, if profiles are wanted. It does not wait for them.
func (k *kube) profiled(ctx context.Context, name string, length time.Duration, diag io.Writer) {
	if k.profile == "" {
		return
	}
	save := func(path, file string) {
		raw, err := k.do(ctx, http.MethodGet, path, plainJSON, nil)
		if err == nil {
			err = os.WriteFile(filepath.Join(k.profile, name+file), raw, 0o600)
		}
		if err != nil {
			fmt.Fprintln(diag, "no profile:", err)
		}
	}
	go func() {
		save(fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(length.Seconds())), ".cpu")
		save("/metrics", ".metrics")
		save("/debug/pprof/heap?gc=1", ".heap")
	}()
}
