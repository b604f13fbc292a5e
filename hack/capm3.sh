#!/bin/sh
# Builds Cluster API's own programs, for the test that runs them against ingot:
#
#	hack/capm3.sh DIR
#
# DIR gets capi-manager, capm3-manager, clusterctl, and the sources with their
# manifests in DIR/capi and DIR/capm3. They come through the Go module proxy and
# are no part of our go.mod; a first build takes ten minutes on two cores.
set -eu
capi=v1.14.2
capm3=v1.13.2
dir=$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# The module at PATH@VERSION and its api module, as one tree of ours to write in.
tree() {
	[ -d "$dir/$3" ] && return
	rm -rf "$dir/$3.tmp"
	for m in "$1@$2" "$1/api@$2"; do
		(cd / && GONOSUMDB='github.com/*' go mod download "$m")
	done
	cp -r "$(go env GOMODCACHE)/$1@$2" "$dir/$3.tmp"
	chmod -R u+w "$dir/$3.tmp"
	rm -rf "$dir/$3.tmp/api"
	cp -r "$(go env GOMODCACHE)/$1/api@$2" "$dir/$3.tmp/api"
	chmod -R u+w "$dir/$3.tmp"
	mv "$dir/$3.tmp" "$dir/$3"
}
tree sigs.k8s.io/cluster-api "$capi" capi
tree github.com/metal3-io/cluster-api-provider-metal3 "$capm3" capm3

export GOFLAGS=-mod=mod GONOSUMDB='github.com/*'
version="-X sigs.k8s.io/cluster-api/version.gitVersion=$capi -X sigs.k8s.io/cluster-api/version.gitMajor=1 -X sigs.k8s.io/cluster-api/version.gitMinor=14"
(cd "$dir/capm3" && go build -o "$dir/capm3-manager" .)
(cd "$dir/capi" && go build -ldflags "$version" -o "$dir/capi-manager" ./core)
(cd "$dir/capi" && go build -ldflags "$version" -o "$dir/clusterctl" ./cmd/clusterctl)
