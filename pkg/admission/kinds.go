package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metal3api "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// Path of the webhook for BareMetalHosts: Metal3's.
const Path = "/validate-metal3-io-v1alpha1-baremetalhost"

// Paths are all that Handler answers on.
func Paths() []string {
	var all []string
	for _, k := range kinds(nil) {
		all = append(all, k.path())
	}
	return all
}

// kind is one that has rules.
type kind struct {
	schema.GroupVersionKind
	resource string
	scope    registrationv1.ScopeType
	judge    func(context.Context, admission.Request) (field.ErrorList, error)
}

// path is what Metal3 and controller-runtime call it.
func (k kind) path() string {
	return strings.ToLower("/validate-" + strings.ReplaceAll(k.Group, ".", "-") + "-" + k.Version + "-" + k.Kind)
}

// name of the webhook: Metal3's, so that messages read the same.
func (k kind) name() string { return strings.ToLower(k.Kind) + "." + k.Group }

// kinds are those that have rules. The reader tells of other objects where a rule
// needs them; without one such rules are left out.
func kinds(reader client.Reader) []kind {
	metal3 := func(name, resource string, judge func(context.Context, admission.Request) (field.ErrorList, error)) kind {
		return kind{metal3api.GroupVersion.WithKind(name), resource, registrationv1.NamespacedScope, judge}
	}
	return []kind{
		metal3("BareMetalHost", "baremetalhosts", judgeHost),
		metal3("BMCEventSubscription", "bmceventsubscriptions", judged(decode[metal3api.BMCEventSubscription], checkSubscription, fixedSubscription)),
		metal3("DataImage", "dataimages", judged(decode[metal3api.DataImage], checkDataImage, nil)),
		metal3("HostClaim", "hostclaims", judged(decode[metal3api.HostClaim], checkClaim, nil)),
		metal3("HostDeployPolicy", "hostdeploypolicies", judged(decode[metal3api.HostDeployPolicy], checkPolicy, nil)),
		metal3("HostFirmwareComponents", "hostfirmwarecomponents", judged(decode[metal3api.HostFirmwareComponents], checkComponents, nil)),
		{
			v1alpha1.GroupVersion.WithKind("ProvisioningNetwork"), "provisioningnetworks", registrationv1.ClusterScope,
			func(ctx context.Context, r admission.Request) (field.ErrorList, error) {
				return judgeNetwork(ctx, reader, r)
			},
		},
	}
}

func decode[T any](raw []byte) (*T, error) {
	o := new(T)
	return o, json.Unmarshal(raw, o)
}

// judged applies rules to a review: all of them to a new object, what a change
// makes worse and what may not change to an old one.
func judged[T metav1.Object](decode func([]byte) (T, error), create func(T) field.ErrorList, fixed func(now, old T) field.ErrorList) func(context.Context, admission.Request) (field.ErrorList, error) {
	return func(_ context.Context, r admission.Request) (field.ErrorList, error) {
		now, err := decode(r.Object.Raw)
		if r.Operation != admissionv1.Update {
			if err != nil {
				return nil, fmt.Errorf("decode %s: %w", r.Kind.Kind, err)
			}
			now.SetNamespace(r.Namespace)
			return create(now), nil
		}
		old, oldErr := decode(r.OldObject.Raw)
		switch {
		case err != nil && oldErr != nil:
			return nil, nil // from before its schema; it may be labelled, and let go
		case err != nil:
			return nil, fmt.Errorf("decode %s: %w", r.Kind.Kind, err)
		}
		now.SetNamespace(r.Namespace)
		if oldErr != nil {
			return change(now, now, create, nil), nil
		}
		old.SetNamespace(r.Namespace)
		return change(now, old, create, fixed), nil
	}
}

// judgeNetwork looks at the other networks too, where the range is new.
func judgeNetwork(ctx context.Context, reader client.Reader, r admission.Request) (field.ErrorList, error) {
	var others v1alpha1.ProvisioningNetworkList
	if reader != nil && (r.Operation == admissionv1.Create || r.Operation == admissionv1.Update) {
		if err := reader.List(ctx, &others); err != nil {
			return nil, fmt.Errorf("read the other networks: %w", err)
		}
	}
	create := func(n *v1alpha1.ProvisioningNetwork) field.ErrorList {
		return append(checkNetwork(n), checkNetworks(n, others.Items)...)
	}
	return judged(decode[v1alpha1.ProvisioningNetwork], create, nil)(ctx, r)
}
