package node

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

const (
	// labelNode is on the Secrets that this door makes: the UUID of their node.
	labelNode = "ingot.dev/node"
	// annotationHost is on them as well: the name of their host.
	annotationHost = "ingot.dev/host"
	// keyDriverInfo opens the keys of driver_info's secrets that have no name of
	// their own.
	keyDriverInfo = "driver_info."
	// keyDrive is a config drive that is given whole: the bytes of its file system.
	keyDrive = "configDrive"
	// maxSecret is what a Secret may hold, with some room for its keys.
	maxSecret = 1<<20 - 4<<10
)

// learnSecrets takes the secrets out of what is said of the driver, and, if there are
// others than before, has a new Secret made of them. A Secret is never changed: it may
// be another host's as well, and a change that is given up must leave none behind.
func (s *Store) learnSecrets(ctx context.Context, dr *draft, was, is *ironic.Node) error {
	user, password := credentialKeys(is.Driver)
	before, err := s.secretOf(ctx, dr)
	if err != nil {
		return err
	}
	data := maps.Clone(before)
	if data == nil {
		data = map[string][]byte{}
	}
	if oldUser, oldPassword := credentialKeys(was.Driver); oldPassword != password {
		move(data, "username", keyDriverInfo+oldUser, keyDriverInfo+user)
		move(data, "password", keyDriverInfo+oldPassword, keyDriverInfo+password)
	}
	for key := range was.DriverInfo {
		if _, still := is.DriverInfo[key]; !still {
			delete(data, secretKey(key, user, password))
		}
	}
	for key, value := range is.DriverInfo {
		if key != user && !Secretive(key) {
			continue
		}
		as := secretKey(key, user, password)
		if errs := validation.IsConfigMapKey(as); len(errs) > 0 {
			return refuse("driver_info/%s looks like a secret, and its name cannot be that of one: %s.", key, strings.Join(errs, ", "))
		}
		plain := text(value)
		switch {
		case key == user && reflect.DeepEqual(value, was.DriverInfo[key]) && len(data[as]) > 0:
		case key == user:
			data[as] = []byte(plain)
		case plain == ironic.Masked:
			// as it is stored
		case value == nil:
			delete(data, as)
		default:
			data[as] = []byte(plain)
			if dr.said.DriverInfo == nil {
				dr.said.DriverInfo = ironic.Object{}
			}
			dr.said.DriverInfo[key] = ironic.Masked
		}
	}
	if len(data) == 0 && len(before) == 0 || reflect.DeepEqual(data, before) {
		return nil
	}
	if old := dr.said.Secret; old != "" {
		dr.drop = append(dr.drop, old)
	}
	dr.said.Secret = ""
	if len(data) > 0 {
		if dr.said.Secret, err = dr.secret("bmc", s.NewID(), data); err != nil {
			return err
		}
	}
	if dr.host.Spec.BMC.Address != "" {
		dr.host.Spec.BMC.CredentialsName = dr.said.Secret
	}
	return nil
}

// move has a value that is no longer named by its own key come back when it is again.
func move(data map[string][]byte, key, away, back string) {
	if v, ok := data[key]; ok {
		data[away] = v
		delete(data, key)
	}
	if v, ok := data[back]; ok {
		data[key] = v
		delete(data, back)
	}
}

func secretKey(key, user, password string) string {
	switch key {
	case user:
		return "username"
	case password:
		return "password"
	}
	return keyDriverInfo + key
}

// secretOf reads the Secret that a node's BMC is logged in to with.
func (s *Store) secretOf(ctx context.Context, dr *draft) (map[string][]byte, error) {
	name := dr.host.Spec.BMC.CredentialsName
	if name == "" {
		name = dr.said.Secret
	}
	if name == "" || dr.n.Host == nil {
		return nil, nil
	}
	secret := &corev1.Secret{}
	err := s.Reader.Get(ctx, types.NamespacedName{Namespace: dr.host.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return secret.Data, wrap(err, "reading the Secret of node %s", dr.n.UUID)
}

// secret has a Secret made before anything else is written.
func (dr *draft) secret(what, id string, data map[string][]byte) (string, error) {
	size := 0
	for k, v := range data {
		size += len(k) + len(v)
	}
	if size > maxSecret {
		return "", refuse("What is to be kept secret has %d bytes; a Secret holds at most %d.", size, maxSecret)
	}
	base := dr.host.Name
	if len(base) > 200 {
		base = base[:200]
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: dr.host.Namespace, Name: strings.TrimRight(base, "-.") + "-" + what + "-" + id[max(0, len(id)-8):],
			Labels:      map[string]string{labelNode: dr.id, "clusterctl.cluster.x-k8s.io/move": ""},
			Annotations: map[string]string{annotationHost: dr.host.Name},
		},
		Data: data,
	}
	if dr.host.UID != "" {
		owner := record.Owner(dr.host)
		owner.Controller = nil
		secret.OwnerReferences = []metav1.OwnerReference{owner}
	}
	dr.secrets = append(dr.secrets, secret)
	return secret.Name, nil
}

// driveSecret is what a config drive, as a client sends it, is kept as: an object
// whose parts are made a drive of, or the base64 of a gzipped file system.
func driveSecret(sent json.RawMessage) (map[string][]byte, error) {
	sent = bytes.TrimSpace(sent)
	if len(sent) == 0 || bytes.Equal(sent, []byte("null")) || bytes.Equal(sent, []byte(`""`)) {
		return nil, nil
	}
	if sent[0] != '"' {
		return driveParts(sent)
	}
	var whole string
	if err := json.Unmarshal(sent, &whole); err != nil {
		return nil, refuse("configdrive is neither a JSON object nor a text.")
	}
	whole = strings.TrimSpace(whole)
	switch {
	case strings.HasPrefix(whole, "{"):
		return driveParts([]byte(whole))
	case strings.Contains(whole[:min(len(whole), 16)], "://"):
		return nil, refuse("A config drive by its URL is not supported: send it whole, or as an object with meta_data, network_data and user_data.")
	}
	packed := base64.NewDecoder(base64.StdEncoding, strings.NewReader(whole))
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return nil, refuse("configdrive is no base64 of a gzipped file system: %v", err)
	}
	drive, err := io.ReadAll(io.LimitReader(plain, maxSecret))
	switch {
	case err != nil:
		return nil, refuse("configdrive is no base64 of a gzipped file system: %v", err)
	case len(drive) >= maxSecret:
		return nil, refuse("The config drive is larger than %d bytes, which is what a Secret holds: send it as an object with meta_data, network_data and user_data.", maxSecret)
	}
	return map[string][]byte{keyDrive: drive}, nil
}

// driveParts reads the object form (1.56).
func driveParts(sent []byte) (map[string][]byte, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(sent, &parts); err != nil {
		return nil, refuse("configdrive is no JSON object: %v", err)
	}
	out := map[string][]byte{}
	for name, value := range parts {
		if bytes.Equal(value, []byte("null")) {
			continue
		}
		switch name {
		case "meta_data":
			out[userdata.KeyMetaData] = value
		case "network_data":
			out[userdata.KeyNetworkData] = value
		case "user_data":
			out[userdata.KeyUserData] = plainOr(value)
		default:
			return nil, refuse("configdrive/%s is not supported: it may have meta_data, network_data and user_data.", name)
		}
	}
	return out, nil
}

// plainOr is a text, or what is no text as it stands.
func plainOr(value json.RawMessage) []byte {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return []byte(s)
	}
	return value
}

// setDrive has the host's next image come with a config drive. Nothing: without one.
func (s *Store) setDrive(dr *draft, data map[string][]byte) error {
	if old := dr.said.Drive; old != "" {
		dr.drop = append(dr.drop, old)
		dr.said.Drive = ""
	}
	if len(data) == 0 {
		return nil
	}
	name, err := dr.secret("data", s.NewID(), data)
	if err != nil {
		return fmt.Errorf("config drive: %w", err)
	}
	dr.said.Drive, dr.driveKeys = name, data
	return nil
}

// refer makes the host's spec name the Secret of its config drive, and no longer one
// of ours that was.
func (dr *draft) refer(was string, keys map[string][]byte) {
	ours := func(r *corev1.SecretReference) bool { return r != nil && was != "" && r.Name == was }
	spec := &dr.host.Spec
	for key, at := range map[string]**corev1.SecretReference{
		userdata.KeyUserData: &spec.UserData, userdata.KeyNetworkData: &spec.NetworkData, userdata.KeyMetaData: &spec.MetaData,
	} {
		_, has := keys[key]
		if _, whole := keys[keyDrive]; whole && key == userdata.KeyUserData {
			has = true
		}
		switch {
		case has && dr.said.Drive != "":
			*at = &corev1.SecretReference{Namespace: dr.host.Namespace, Name: dr.said.Drive}
		case ours(*at):
			*at = nil
		}
	}
}

// sweep deletes Secrets of ours that never came into use, or went out of it: the
// process ended before it could. Young ones may be about to come into use.
func (s *Store) sweep(ctx context.Context) error {
	var secrets corev1.SecretList
	if err := s.Client.List(ctx, &secrets, client.HasLabels{labelNode}); err != nil {
		return wrap(err, "looking for Secrets that nobody uses")
	}
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		k := types.NamespacedName{Namespace: secret.Namespace, Name: secret.Annotations[annotationHost]}
		if k.Name == "" || s.Now().Sub(secret.CreationTimestamp.Time) < sweepAfter || !secret.DeletionTimestamp.IsZero() {
			continue
		}
		if used, err := s.inUse(ctx, k, secret.Name); err != nil {
			return err
		} else if !used {
			s.drop(ctx, secret.Namespace, []string{secret.Name})
		}
	}
	return nil
}

// sweepAfter is the age at which a Secret that nobody uses is not wanted any more.
const sweepAfter = 5 * time.Minute

// inUse reports whether a node of that key, as it is stored, names a Secret.
func (s *Store) inUse(ctx context.Context, k types.NamespacedName, name string) (bool, error) {
	if n := s.byKey(k); n != nil && names(n.Host, n.Attrs, name) {
		return true, nil // most are
	}
	b, a := &metal3.BareMetalHost{}, &v1alpha1.NodeAttributes{}
	if err := s.Reader.Get(ctx, k, b); client.IgnoreNotFound(err) != nil {
		return true, wrap(err, "looking for who uses Secret %s", name)
	}
	if err := s.Reader.Get(ctx, k, a); client.IgnoreNotFound(err) != nil {
		return true, wrap(err, "looking for who uses Secret %s", name)
	}
	return names(b, a, name), nil
}

func names(b *metal3.BareMetalHost, a *v1alpha1.NodeAttributes, name string) bool {
	if b != nil {
		if b.Spec.BMC.CredentialsName == name {
			return true
		}
		for _, ref := range []*corev1.SecretReference{b.Spec.UserData, b.Spec.MetaData, b.Spec.NetworkData} {
			if ref != nil && ref.Name == name {
				return true
			}
		}
	}
	if a == nil {
		return false
	}
	w := saidIn(a)
	return w.Secret == name || w.Drive == name || intentOf(a) != nil
}
