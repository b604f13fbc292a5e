// Package rest is the Ironic-compatible door. As yet it answers discovery alone
// (the root and /v1), which needs no authentication; the resources follow.
package rest

import (
	"encoding/json"
	"net/http"
)

// Versions served. The maximum is honest: it is the highest whose every visible
// change is served.
const (
	minVersion = "1.1"
	maxVersion = "1.1"
)

type link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

type version struct {
	ID         string `json:"id"`
	Links      []link `json:"links"`
	Status     string `json:"status"`
	MinVersion string `json:"min_version"`
	Version    string `json:"version"`
}

// Handler answers the REST door.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		v := v1(r)
		answer(w, http.StatusOK, map[string]any{
			"name":            "OpenStack Ironic API",
			"description":     "ingot answers as Ironic does: bare-metal hosts, the same that kubectl shows.",
			"default_version": v,
			"versions":        []version{v},
		})
	})
	mux.HandleFunc("GET /v1", node)
	mux.HandleFunc("GET /v1/{$}", node)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		// Ironic's errors are encoded twice: clients decode them twice.
		inner, _ := json.Marshal(map[string]any{
			"debuginfo": nil, "faultcode": "Client", "faultstring": "The resource could not be found.",
		})
		answer(w, http.StatusNotFound, map[string]string{"error_message": string(inner)})
	})
	return mux
}

func node(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-OpenStack-Ironic-API-Minimum-Version", minVersion)
	w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", maxVersion)
	w.Header().Set("X-OpenStack-Ironic-API-Version", minVersion)
	v := v1(r)
	answer(w, http.StatusOK, map[string]any{"id": "v1", "version": v, "links": v.Links})
}

func v1(r *http.Request) version {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return version{
		ID: "v1", Status: "CURRENT", MinVersion: minVersion, Version: maxVersion,
		Links: []link{{Href: scheme + "://" + r.Host + "/v1/", Rel: "self"}},
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away is no concern of ours.
	_ = json.NewEncoder(w).Encode(v)
}
