package capm3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

const (
	capm3Namespace = "capm3-system"
	capm3User      = "capm3-manager"
)

// The groups of Cluster API.
const (
	groupCluster = "cluster.x-k8s.io"
	groupInfra   = "infrastructure.cluster.x-k8s.io"
	versionCAPI  = "v1beta2"
)

// capm3Rules is what CAPM3 may do to what is ours, and to those of Cluster API's
// kinds that this package has (capm3:config/rbac/role.yaml, and for leader
// election leader_election_role.yaml, which is of no concern here).
func capm3Rules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	write := []string{"create", "delete", "get", "list", "patch", "update", "watch"}
	status := []string{"get", "patch", "update"}
	rule := func(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	return []rbacv1.PolicyRule{
		rule("", write, "secrets"),
		rule("metal3.io", write, "baremetalhosts"),
		rule("metal3.io", status, "baremetalhosts/status"),
		rule(groupCluster, read, "clusters", "clusters/status", "machinesets"),
		rule(groupCluster, write, "machines", "machines/status", "machinedeployments"),
		rule(groupInfra, write, "metal3clusters", "metal3machines", "metal3datas", "metal3dataclaims"),
		rule(groupInfra, status, "metal3clusters/status", "metal3machines/status", "metal3datas/status", "metal3dataclaims/status"),
	}
}

// newProvider makes the service account, gives it the role, and speaks with its
// token.
func newProvider(ctx context.Context, s *site) (*provider, error) {
	own, err := s.letIn(ctx, capm3Rules())
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(own, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return &provider{Client: c}, nil
}

// letIn makes CAPM3's service account with a role, and returns what it logs in
// with.
func (s *site) letIn(ctx context.Context, rules []rbacv1.PolicyRule) (*rest.Config, error) {
	account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: capm3Namespace, Name: capm3User}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.server.Kubeconfig)
	if err != nil {
		return nil, err
	}
	set, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	var none metav1.CreateOptions
	_, errNamespace := set.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: capm3Namespace}}, none)
	_, errAccount := set.CoreV1().ServiceAccounts(capm3Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: capm3User}}, none)
	_, errRole := set.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "capm3-manager-role"}, Rules: rules}, none)
	_, errBinding := set.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "capm3-manager-rolebinding"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "capm3-manager-role"},
		Subjects:   []rbacv1.Subject{account},
	}, none)
	if err := errors.Join(errNamespace, errAccount, errRole, errBinding); err != nil {
		return nil, err
	}
	token, err := set.CoreV1().ServiceAccounts(capm3Namespace).CreateToken(ctx, capm3User, &authv1.TokenRequest{}, none)
	if err != nil {
		return nil, err
	}
	own := &rest.Config{
		Host: cfg.Host, TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CAData, CAFile: cfg.CAFile},
		BearerToken: token.Status.Token, UserAgent: capm3User, QPS: -1,
	}
	if set, err = kubernetes.NewForConfig(own); err != nil {
		return nil, err
	}
	// The server's own watches hear of a new account and its role a moment later.
	for {
		_, err := set.Discovery().ServerGroups()
		if err == nil {
			err = set.CoreV1().RESTClient().Get().AbsPath("/apis/metal3.io/v1alpha1/baremetalhosts").Do(ctx).Error()
		}
		if err == nil {
			return own, nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// installKinds makes those of Cluster API's and CAPM3's kinds that the
// conversation needs, with schemas that take anything.
func installKinds(ctx context.Context, admin client.Client) error {
	kinds := map[string][]string{
		groupCluster: {"Cluster", "Machine"},
		groupInfra:   {"Metal3Machine", "Metal3Data"},
	}
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	for group, list := range kinds {
		for _, kind := range list {
			one := strings.ToLower(kind)
			crd := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
				"metadata": map[string]any{"name": one + "s." + group, "labels": map[string]any{labelClusterctl: ""}},
				"spec": map[string]any{
					"group": group, "scope": "Namespaced",
					"names": map[string]any{"kind": kind, "listKind": kind + "List", "plural": one + "s", "singular": one},
					"versions": []any{map[string]any{
						"name": versionCAPI, "served": true, "storage": true,
						"subresources": map[string]any{"status": map[string]any{}},
						"schema":       map[string]any{"openAPIV3Schema": open},
					}},
				},
			}}
			if err := admin.Create(ctx, crd); err != nil {
				return err
			}
			if err := served(ctx, admin, group, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// served waits until objects of a kind can be listed.
func served(ctx context.Context, c client.Client, group, kind string) error {
	for {
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": group + "/" + versionCAPI, "kind": kind + "List"}}
		err := c.List(ctx, list, client.Limit(1))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return fmt.Errorf("%s is not served: %w", kind, err)
		}
	}
}

// TestAccess: CAPM3's token reaches what CAPM3's role names and nothing else of
// ours, so that what these tests do is possible with that role.
func TestAccess(t *testing.T) {
	c := shared.site.capm3
	for name, list := range map[string]client.ObjectList{"hosts": &metal3.BareMetalHostList{}, "secrets": &corev1.SecretList{}} {
		if err := c.List(t.Context(), list); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, list := range map[string]client.ObjectList{
		"HardwareData": &metal3.HardwareDataList{}, "HostFirmwareSettings": &metal3.HostFirmwareSettingsList{},
		"HostRecord": &v1alpha1.HostRecordList{}, "ConfigMap": &corev1.ConfigMapList{}, "Namespace": &corev1.NamespaceList{},
	} {
		if err := c.List(t.Context(), list); !apierrors.IsForbidden(err) {
			t.Errorf("CAPM3 may list %s: %v", name, err)
		}
	}
}
