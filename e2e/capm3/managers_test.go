//go:build e2e

package capm3

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// programs is what hack/capm3.sh makes.
type programs string

// realPrograms builds Cluster API's own programs, or takes those in INGOT_CAPI.
func realPrograms(t *testing.T) programs {
	t.Helper()
	if dir := os.Getenv("INGOT_CAPI"); dir != "" {
		return programs(dir)
	}
	if os.Getenv("INGOT_E2E") != "all" {
		t.Skip("building Cluster API takes ten minutes: make e2e-all, or name what hack/capm3.sh made in INGOT_CAPI")
	}
	dir := t.TempDir()
	cmd := exec.Command("../../hack/capm3.sh", dir)
	cmd.Stderr = os.Stderr
	must(t, cmd.Run())
	return programs(dir)
}

// manifests reads all objects in a file, or in the files of a directory.
func (p programs) manifests(t *testing.T, path string) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	root, err := filepath.EvalSymlinks(filepath.Join(string(p), path))
	must(t, err)
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		docs := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
		for {
			o := &unstructured.Unstructured{}
			err := docs.Decode(&o.Object)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if len(o.Object) > 0 {
				list = append(list, o)
			}
		}
	}))
	return list
}

// door is where a manager's webhooks are: here, on loopback, and not behind a
// Service as in a cluster.
type door struct {
	port int
	dir  string // of tls.crt and tls.key
	ca   []byte
}

func newDoor(t *testing.T) door {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is good for 127.0.0.1
	defer srv.Close()
	d := door{port: freePort(t), dir: t.TempDir()}
	d.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(d.dir, "tls.crt"), d.ca, 0o600))
	must(t, os.WriteFile(filepath.Join(d.dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return d
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// config is a webhook's clientConfig.
func (d door) config(path string) map[string]any {
	return map[string]any{"url": fmt.Sprintf("https://127.0.0.1:%d%s", d.port, path), "caBundle": d.ca}
}

// install applies a provider's manifests as clusterctl init does, its webhooks
// and conversions pointed at the door.
func (d door) install(t *testing.T, s *site, list []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range list {
		// From bytes and back: caBundle is base64 there.
		text := o.Object
		switch o.GetKind() {
		case "CustomResourceDefinition":
			l := o.GetLabels()
			if l == nil {
				l = map[string]string{}
			}
			// As kustomization.yaml has it, and clusterctl for all it installs.
			l["cluster.x-k8s.io/v1beta1"], l["cluster.x-k8s.io/v1beta2"], l[labelClusterctl] = "v1beta1", "v1beta2", ""
			o.SetLabels(l)
			if versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions"); len(versions) > 1 {
				text["spec"].(map[string]any)["conversion"] = map[string]any{"strategy": "Webhook", "webhook": map[string]any{
					"clientConfig": d.config("/convert"), "conversionReviewVersions": []any{"v1"},
				}}
			}
		case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			hooks, _ := text["webhooks"].([]any)
			for _, h := range hooks {
				h := h.(map[string]any)
				path, _, _ := unstructured.NestedString(h, "clientConfig", "service", "path")
				h["clientConfig"] = d.config(path)
			}
			o.SetName(fmt.Sprintf("%s-%d", o.GetName(), d.port))
		default:
			continue
		}
		raw, err := yaml.Marshal(text)
		must(t, err)
		fresh := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal(raw, &fresh.Object))
		must(t, s.admin.Create(t.Context(), fresh))
	}
}

// kubeconfig writes what a manager logs in with.
func kubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	f := clientcmdapi.NewConfig()
	f.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData, CertificateAuthority: c.CAFile}
	f.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: c.BearerToken}
	f.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	f.CurrentContext = "x"
	must(t, clientcmd.WriteToFile(*f, path))
	return path
}

// run starts a manager and keeps its log, which is shown if the test fails.
func (p programs) run(t *testing.T, name, kubeconfig string, d door) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	must(t, err)
	cmd := exec.Command(filepath.Join(string(p), name), "--webhook-port", fmt.Sprint(d.port), "--webhook-cert-dir", d.dir,
		"--health-addr", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--diagnostics-address", "0", "--insecure-diagnostics", "-v", "2")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "POD_NAMESPACE=capi-system", "POD_NAME=x", "POD_UID=x")
	cmd.Stdout, cmd.Stderr = log, log
	m, err := rig.Start(cmd)
	must(t, err)
	t.Cleanup(func() {
		m.Stop(20 * time.Second)
		if text, err := os.ReadFile(log.Name()); err == nil {
			if keep := os.Getenv("INGOT_CAPI_LOGS"); keep != "" {
				_ = os.WriteFile(filepath.Join(keep, fmt.Sprintf("%s-%d.log", name, d.port)), text, 0o600)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", name, text[max(0, len(text)-8<<10):])
			}
		}
		_ = log.Close()
	})
	until(t, name+" to listen", func() (bool, error) {
		select {
		case <-m.Exited():
			text, _ := os.ReadFile(log.Name())
			return false, fmt.Errorf("it ended:\n%s", text[max(0, len(text)-4<<10):])
		default:
		}
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", d.port), time.Second)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	}, nothing)
}

// manage turns a site into a management cluster: Cluster API's core manager as
// the administrator, CAPM3 with its own role.
func (p programs) manage(t *testing.T, s *site) {
	t.Helper()
	core, metal3 := newDoor(t), newDoor(t)
	core.install(t, s, p.manifests(t, "capi/core/config/crd/bases"))
	metal3.install(t, s, p.manifests(t, "capm3/config/crd/bases"))
	metal3.install(t, s, ipam())
	p.run(t, "capi-manager", s.server.Kubeconfig, core)
	var rules []rbacv1.PolicyRule
	for _, o := range p.manifests(t, "capm3/config/rbac/role.yaml") {
		raw, err := yaml.Marshal(o.Object)
		must(t, err)
		role := rbacv1.ClusterRole{}
		must(t, yaml.UnmarshalStrict(raw, &role))
		rules = append(rules, role.Rules...)
	}
	// leader_election_role.yaml
	rules = append(rules, rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
	})
	own, err := s.letIn(t.Context(), rules)
	must(t, err)
	p.run(t, "capm3-manager", kubeconfig(t, own), metal3)
	core.install(t, s, p.manifests(t, "capi/core/config/webhook/manifests.yaml"))
	metal3.install(t, s, p.manifests(t, "capm3/config/webhook/manifests.yaml"))
}

// ipam is the kinds of Metal3's IP address manager, which CAPM3 watches; its
// manifests are in no module.
func ipam() []*unstructured.Unstructured {
	var list []*unstructured.Unstructured
	for _, kind := range []string{"IPClaim", "IPAddress", "IPPool"} {
		plural := strings.ToLower(kind) + map[bool]string{true: "es", false: "s"}[kind == "IPAddress"]
		list = append(list, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + ".ipam.metal3.io"},
			"spec": map[string]any{
				"group": "ipam.metal3.io", "scope": "Namespaced",
				"names": map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind)},
				"versions": []any{map[string]any{
					"name": "v1alpha1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		}})
	}
	return list
}

// apply creates objects from YAML, patiently: webhooks may not be there yet.
func (s *site) apply(t *testing.T, text string) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal([]byte(doc), &o.Object))
		var last error
		until(t, o.GetKind()+" "+o.GetName()+" to be accepted", func() (bool, error) {
			last = s.admin.Create(t.Context(), o.DeepCopy())
			if apierrors.IsInvalid(last) || apierrors.IsForbidden(last) {
				return false, last
			}
			return last == nil || apierrors.IsAlreadyExists(last), nil
		}, func() string { return fmt.Sprint(last) })
	}
}

// object reads one of Cluster API's.
func (s *site) object(ctx context.Context, group, kind, namespace, name string) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/" + versionCAPI, "kind": kind}}
	return o, s.admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
}
