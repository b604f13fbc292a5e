//go:build e2e

package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// terraform sends what terraform-provider-ironic sends for a node, a port, an
// allocation and a deployment, in 1.52, its default. Its binary is not run: it comes
// from the Terraform registry.
func terraform(t *testing.T, p *suite) {
	var node, port, allocation string
	do := func(name, method, path string, body any, want int, keep *string) {
		p.step(t, name, func() error {
			var text []byte
			if body != nil {
				var err error
				if text, err = json.Marshal(body); err != nil {
					return err
				}
			}
			req, err := http.NewRequestWithContext(t.Context(), method, p.URL+"/v1"+path, bytes.NewReader(text))
			if err != nil {
				return err
			}
			req.Header.Set("X-OpenStack-Ironic-API-Version", "1.52")
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			got, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
			if err != nil {
				return err
			}
			if res.StatusCode != want {
				return fmt.Errorf("%d, want %d: %.300s", res.StatusCode, want, got)
			}
			if keep != nil {
				var v struct{ UUID string }
				if err := json.Unmarshal(got, &v); err != nil {
					return err
				}
				*keep = v.UUID
			}
			return nil
		})
	}
	state := func(name, path, field, want string) {
		p.step(t, name, func() error {
			return eventually(t.Context(), func() error {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/v1"+path, nil)
				if err != nil {
					return err
				}
				req.Header.Set("X-OpenStack-Ironic-API-Version", "1.52")
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				defer res.Body.Close()
				var v map[string]any
				if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&v); err != nil {
					return err
				}
				if res.StatusCode >= 400 {
					return fmt.Errorf("%d %v", res.StatusCode, v)
				}
				if got := fmt.Sprint(v[field]); got != want {
					return fmt.Errorf("%s is %s, want %s: %v", field, got, want, v["last_error"])
				}
				return nil
			})
		})
	}
	provision := func(target string) map[string]any { return map[string]any{"target": target} }

	do("root", http.MethodGet, "", nil, 200, nil)
	do("drivers", http.MethodGet, "/drivers", nil, 200, nil)
	do("create node", http.MethodPost, "/nodes", map[string]any{
		"name": "tf-a", "driver": "fake-hardware", "resource_class": "tf-rc", "boot_interface": "fake", "deploy_interface": "fake",
		"management_interface": "fake", "network_interface": "noop", "power_interface": "fake", "storage_interface": "noop", "vendor_interface": "fake",
		"properties": map[string]any{"cpu_arch": "x86_64"}, "driver_info": map[string]any{}, "owner": nil, "automated_clean": false,
	}, 201, &node)
	if node == "" {
		return
	}
	do("create port", http.MethodPost, "/ports", map[string]any{"node_uuid": node, "address": "52:54:00:7f:00:01", "pxe_enabled": true}, 201, &port)
	do("manage", http.MethodPut, "/nodes/"+node+"/states/provision", provision("manage"), 202, nil)
	state("it is manageable", "/nodes/"+node, "provision_state", "manageable")
	do("set raid", http.MethodPut, "/nodes/"+node+"/states/raid", map[string]any{
		"logical_disks": []any{map[string]any{"size_gb": 100, "raid_level": "1", "is_root_volume": true}},
	}, 204, nil)
	do("inspect", http.MethodPut, "/nodes/"+node+"/states/provision", provision("inspect"), 202, nil)
	state("it is inspected", "/nodes/"+node, "provision_state", "manageable")
	do("power", http.MethodPut, "/nodes/"+node+"/states/power", map[string]any{"target": "power off"}, 202, nil)
	state("it is off", "/nodes/"+node, "power_state", "power off")
	do("provide", http.MethodPut, "/nodes/"+node+"/states/provision", provision("provide"), 202, nil)
	state("it is available", "/nodes/"+node, "provision_state", "available")
	do("read node", http.MethodGet, "/nodes/"+node, nil, 200, nil)
	do("read port", http.MethodGet, "/ports/"+port, nil, 200, nil)
	do("allocate", http.MethodPost, "/allocations", map[string]any{"name": "tf-al", "resource_class": "tf-rc", "candidate_nodes": []string{node}}, 201, &allocation)
	state("it is allocated", "/allocations/"+allocation, "state", "active")
	do("update node", http.MethodPatch, "/nodes/"+node, []any{
		map[string]any{"op": "add", "path": "/instance_info", "value": map[string]any{"image_source": "http://192.0.2.1/image", "image_checksum": "d41d8cd98f00b204e9800998ecf8427e", "root_gb": 10}},
	}, 200, nil)
	do("validate", http.MethodGet, "/nodes/"+node+"/validate", nil, 200, nil)
	do("deploy", http.MethodPut, "/nodes/"+node+"/states/provision", provision("active"), 202, nil)
	state("it is active", "/nodes/"+node, "provision_state", "active")
	do("undeploy", http.MethodPut, "/nodes/"+node+"/states/provision", provision("deleted"), 202, nil)
	state("it is available again", "/nodes/"+node, "provision_state", "available")
	do("delete allocation: it went with the instance", http.MethodDelete, "/allocations/"+allocation, nil, 404, nil)
	do("delete port", http.MethodDelete, "/ports/"+port, nil, 204, nil)
	do("delete node", http.MethodDelete, "/nodes/"+node, nil, 204, nil)
}
