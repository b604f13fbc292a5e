package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// maxData bounds one piece of a host's data: a Secret holds 1 MiB.
const maxData = 900 << 10

// hostData is what goes into the config drive, by the key of the Secret.
type hostData map[string][]byte

// readData reads and checks the files that the flags name.
func (p *provisioning) readData(names []string) (hostData, error) {
	if p.userData != "" && p.sshKey != "" {
		return nil, Usage("--ssh-key makes user data of its own: put the key into the file of --user-data instead")
	}
	if p.hostname != "" && len(names) > 1 {
		return nil, Usage("--hostname names one system, and there are %d hosts: without it each is named after its host", len(names))
	}
	data := hostData{}
	for key, path := range map[string]string{"userData": p.userData, "networkData": p.networkData, "metaData": p.metaData} {
		if path == "" {
			continue
		}
		text, err := readSmall(path)
		if err != nil {
			return nil, err
		}
		if err := checkData(key, text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		data[key] = text
	}
	if p.sshKey != "" {
		text, err := keyConfig(p.sshKey)
		if err != nil {
			return nil, err
		}
		data["userData"] = text
	}
	if p.hostname != "" {
		text, err := withHostname(data["metaData"], p.hostname)
		if err != nil {
			return nil, err
		}
		data["metaData"] = text
	}
	return data, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxData+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxData {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxData>>10)
	}
	return text, nil
}

// checkData finds what would leave the system unreachable. User data has many
// forms; only cloud-config is looked into.
func checkData(key string, text []byte) error {
	if key == "userData" && !bytes.HasPrefix(text, []byte("#cloud-config")) {
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte("#cloud-config")) {
			return errors.New("#cloud-config must be the very first thing in it")
		}
		return nil
	}
	var v map[string]any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("it is no YAML mapping: %w", err)
	}
	return nil
}

// keyConfig is a cloud-config that lets the owners of public keys in.
func keyConfig(path string) ([]byte, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return nil, fmt.Errorf("%s is a private key: give the public one, %s.pub", path, path)
	}
	var keys []string
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
			return nil, fmt.Errorf("%s is no file of public SSH keys: %w", path, err)
		}
		keys = append(keys, line)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no public SSH key", path)
	}
	body, err := yaml.Marshal(map[string]any{"ssh_authorized_keys": keys})
	if err != nil {
		return nil, err
	}
	return append([]byte("#cloud-config\n"), body...), nil
}

// withHostname puts the name where cloud-init and Metal3's own meta data have it.
func withHostname(metaData []byte, name string) ([]byte, error) {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return nil, Usage("--hostname %s: %s", name, problems[0])
	}
	meta := map[string]any{}
	if err := yaml.Unmarshal(metaData, &meta); err != nil {
		return nil, err
	}
	maps.Copy(meta, map[string]any{"hostname": name, "local-hostname": name, "local_hostname": name})
	return yaml.Marshal(meta)
}

// writeData puts the data into Secrets that are deleted with the host, and
// returns what the host's spec says about them: no data of an earlier time stays.
func (c *api) writeData(ctx context.Context, h host, data hostData) (map[string]any, error) {
	spec := map[string]any{"userData": nil, "networkData": nil, "metaData": nil}
	suffix := map[string]string{"userData": "-user-data", "networkData": "-network-data", "metaData": "-meta-data"}
	for key, text := range data {
		name := h.name() + suffix[key]
		secret := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
			"metadata": map[string]any{
				"name": name, "namespace": h.bmh.Namespace,
				"ownerReferences": []any{map[string]any{
					"apiVersion": hostKind().GroupVersion().String(), "kind": hostKind().Kind, "name": h.name(), "uid": string(h.bmh.UID),
				}},
			},
			"data": map[string]any{key: base64.StdEncoding.EncodeToString(text)},
		}}
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(secret), client.FieldOwner(fieldManager)); err != nil {
			return nil, fmt.Errorf("write Secret %s: %w", name, err)
		}
		spec[key] = map[string]any{"name": name, "namespace": h.bmh.Namespace}
	}
	return spec, nil
}
