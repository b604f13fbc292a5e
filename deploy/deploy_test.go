package deploy_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/deploy"
)

var update = flag.Bool("update", false, "write kustomize/base/role.yaml")

func TestRolesAreFresh(t *testing.T) {
	const path = "kustomize/base/role.yaml"
	want, err := deploy.Roles()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale, run go generate ./deploy (-want +got):\n%s", path, diff)
	}
}

// No right is listed twice, and none is a wildcard.
func TestRules(t *testing.T) {
	rules, err := deploy.Rules()
	if err != nil {
		t.Fatal(err)
	}
	everywhere := map[string]bool{}
	for _, shared := range []bool{false, true} {
		seen := map[string]bool{}
		for _, r := range rules {
			if r.Shared != shared {
				continue
			}
			if r.For == "" || len(r.Resources) == 0 || len(r.Verbs) == 0 {
				t.Errorf("%+v says too little", r)
			}
			for _, res := range r.Resources {
				for _, v := range r.Verbs {
					key := fmt.Sprintf("%s %s.%s %v", v, res, r.Group, r.Names)
					if seen[key] || everywhere[key] || strings.Contains(key, "*") {
						t.Errorf("%s: twice, or a wildcard", key)
					}
					seen[key] = true
				}
			}
		}
		everywhere = seen
	}
}

// objects reads a stream of manifests strictly: an unknown field is an error.
func objects(t *testing.T, where string, stream []byte) []client.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var all []client.Object
	for _, doc := range bytes.Split(stream, []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &u.Object); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if len(u.Object) == 0 {
			continue
		}
		o, err := scheme.New(u.GroupVersionKind())
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			t.Fatalf("%s: %s: %v", where, u.GetName(), err)
		}
		all = append(all, o.(client.Object))
	}
	return all
}

// site is what an overlay makes.
type site struct {
	t           *testing.T
	deployment  *appsv1.Deployment
	services    []*corev1.Service
	accounts    []string // namespace/name
	namespaces  []string
	claims      []string
	roles       []string // kind/namespace/name
	clusterBind []*rbacv1.ClusterRoleBinding
	bind        []*rbacv1.RoleBinding
	kinds       int
}

func read(t *testing.T, all []client.Object) site {
	s := site{t: t}
	for _, o := range all {
		name := o.GetNamespace() + "/" + o.GetName()
		switch o := o.(type) {
		case *appsv1.Deployment:
			s.deployment = o
		case *corev1.Service:
			s.services = append(s.services, o)
		case *corev1.ServiceAccount:
			s.accounts = append(s.accounts, name)
		case *corev1.Namespace:
			s.namespaces = append(s.namespaces, o.Name)
		case *corev1.PersistentVolumeClaim:
			s.claims = append(s.claims, name)
		case *rbacv1.ClusterRole:
			s.roles = append(s.roles, "ClusterRole/"+name)
		case *rbacv1.Role:
			s.roles = append(s.roles, "Role/"+name)
		case *rbacv1.ClusterRoleBinding:
			s.clusterBind = append(s.clusterBind, o)
		case *rbacv1.RoleBinding:
			s.bind = append(s.bind, o)
		case *apiextensionsv1.CustomResourceDefinition:
			s.kinds++
		default:
			t.Errorf("unexpected %T %s", o, name)
		}
	}
	if s.deployment == nil {
		t.Fatal("there is no Deployment")
	}
	return s
}

// consistent holds that each name that is referred to is there.
func (s site) consistent() {
	t, d := s.t, s.deployment
	has := func(what string, in []string, name string) {
		t.Helper()
		if !slices.Contains(in, name) {
			t.Errorf("%s %s is not there: %v", what, name, in)
		}
	}
	pod := d.Spec.Template.Spec
	has("namespace", s.namespaces, d.Namespace)
	has("service account", s.accounts, d.Namespace+"/"+pod.ServiceAccountName)
	subject := func(list []rbacv1.Subject) {
		t.Helper()
		if len(list) != 1 || list[0].Namespace+"/"+list[0].Name != d.Namespace+"/"+pod.ServiceAccountName {
			t.Errorf("bound to %+v, want the Deployment's service account %s", list, pod.ServiceAccountName)
		}
	}
	for _, b := range s.clusterBind {
		has("role", s.roles, b.RoleRef.Kind+"//"+b.RoleRef.Name)
		subject(b.Subjects)
	}
	for _, b := range s.bind {
		has("role", s.roles, b.RoleRef.Kind+"/"+b.Namespace+"/"+b.RoleRef.Name)
		subject(b.Subjects)
	}
	if len(s.clusterBind) != 1 || len(s.bind) != 1 {
		t.Errorf("%d and %d bindings", len(s.clusterBind), len(s.bind))
	}

	c := pod.Containers[0]
	var ports, mounts []string
	for _, p := range c.Ports {
		ports = append(ports, p.Name)
	}
	for _, v := range pod.Volumes {
		mounts = append(mounts, v.Name)
		if v.PersistentVolumeClaim != nil {
			has("claim", s.claims, d.Namespace+"/"+v.PersistentVolumeClaim.ClaimName)
		}
	}
	for _, m := range c.VolumeMounts {
		has("volume", mounts, m.Name)
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		has("port", ports, p.HTTPGet.Port.String())
	}
	var behind []string
	for _, svc := range s.services {
		has("namespace", s.namespaces, svc.Namespace)
		for k, v := range svc.Spec.Selector {
			if d.Spec.Template.Labels[k] != v {
				t.Errorf("service %s selects %s=%s, the pods have %v", svc.Name, k, v, d.Spec.Template.Labels)
			}
		}
		for _, p := range svc.Spec.Ports {
			has("port", ports, p.TargetPort.String())
			if p.Port == 443 {
				behind = append(behind, "--webhook-service="+svc.Namespace+"/"+svc.Name)
			}
		}
	}
	if len(behind) != 1 || !slices.Contains(c.Args, behind[0]) {
		t.Errorf("args %v, want %v", c.Args, behind)
	}
}

// confined holds that the container can do little beside its work.
func (s site) confined(add ...corev1.Capability) {
	t, pod := s.t, s.deployment.Spec.Template.Spec
	sc := pod.Containers[0].SecurityContext
	if !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the container may too much: %+v", sc)
	}
	if !slices.Equal(sc.Capabilities.Add, add) {
		t.Errorf("capabilities %v, want %v", sc.Capabilities.Add, add)
	}
	if root := !*pod.SecurityContext.RunAsNonRoot; root != (len(add) > 0) || root != (*pod.SecurityContext.RunAsUser == 0) || root != pod.HostNetwork {
		t.Errorf("root where no low port is needed, or the other way round: %+v", pod.SecurityContext)
	}
}

func TestBase(t *testing.T) {
	files, err := filepath.Glob("kustomize/base/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []client.Object
	for _, f := range files {
		if filepath.Base(f) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects(t, f, text)...)
	}
	s := read(t, all)
	s.consistent()
	s.confined()
}

// Every kustomization names what is there, and every manifest is named.
func TestKustomizations(t *testing.T) {
	named := map[string]bool{}
	var manifests []string
	walk := func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() || filepath.Ext(path) != ".yaml":
			return err
		case d.Name() != "kustomization.yaml":
			manifests = append(manifests, filepath.Clean(path))
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var k struct {
			Kind       string
			Resources  []string
			Components []string
		}
		if err := yaml.Unmarshal(text, &k); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, r := range append(k.Resources, k.Components...) {
			at := filepath.Join(filepath.Dir(path), r)
			named[at] = true
			if info, err := os.Stat(at); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if info.IsDir() {
				if _, err := os.Stat(filepath.Join(at, "kustomization.yaml")); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
		return nil
	}
	for _, dir := range []string{"kustomize", "../api"} {
		if err := filepath.WalkDir(dir, walk); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range manifests {
		if !named[m] {
			t.Errorf("no kustomization names %s", m)
		}
	}
}

// Rendered by kubectl, where there is one.
func TestOverlays(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	render := func(t *testing.T, name string) site {
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", "kustomize/"+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		s := read(t, objects(t, name, out))
		s.consistent()
		if crds, err := filepath.Glob("../api/crd/*.yaml"); err != nil || s.kinds != len(crds) {
			t.Errorf("%d kinds, want %d", s.kinds, len(crds))
		}
		return s
	}
	t.Run("default", func(t *testing.T) { render(t, "default").confined() })
	t.Run("boot", func(t *testing.T) { render(t, "boot").confined("NET_BIND_SERVICE", "NET_RAW") })
	t.Run("metal3", func(t *testing.T) {
		s := render(t, "metal3")
		s.confined()
		const ns, name = "baremetal-operator-system", "baremetal-operator-controller-manager"
		if s.deployment.Namespace != ns || s.deployment.Name != name || !slices.Equal(s.namespaces, []string{ns}) || !slices.Equal(s.accounts, []string{ns + "/" + name}) {
			t.Errorf("Deployment %s/%s, namespaces %v, accounts %v", s.deployment.Namespace, s.deployment.Name, s.namespaces, s.accounts)
		}
		if !slices.Contains(s.roles, "ClusterRole//baremetal-operator-metrics-reader") {
			t.Errorf("roles %v", s.roles)
		}
		if !slices.ContainsFunc(s.services, func(s *corev1.Service) bool {
			return s.Name == name+"-metrics-service" && s.Spec.Ports[0].Port == 8443
		}) {
			t.Error("the service of the metrics has another name")
		}
	})
}
