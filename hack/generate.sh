#!/bin/sh
# Generates the deep copies of api/v1alpha1 and the manifests in api/crd. The
# same sources give the same bytes; the output is committed. The tools and their
# versions are those of hack/tools/go.mod. hack/generate.sh --check changes
# nothing and fails if something committed is out of date.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd hack/tools && go build -o "$tmp/" sigs.k8s.io/controller-tools/cmd/controller-gen ./crdgen)

deepcopy=api/v1alpha1/zz_generated.deepcopy.go
crds=api/crd
if [ "${1-}" = --check ]; then
	cp "$root/$deepcopy" "$tmp/deepcopy.before"
	crds=$tmp/crd
	mkdir "$crds"
fi

"$tmp/controller-gen" object paths=./api/v1alpha1/...
# HardwareDetails holds a float, which controller-gen takes only when told.
"$tmp/controller-gen" crd:allowDangerousTypes=true \
	paths=github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1 output:crd:dir="$tmp/out"
"$tmp/controller-gen" crd paths=./api/v1alpha1/... output:crd:dir="$tmp/out"
"$tmp/crdgen" "$tmp/out" hack/tools/overlay "$crds"

if [ "${1-}" = --check ]; then
	if ! cmp -s "$deepcopy" "$tmp/deepcopy.before"; then
		cp "$tmp/deepcopy.before" "$deepcopy"
		echo "$deepcopy is out of date: run hack/generate.sh" >&2
		exit 1
	fi
	for f in "$crds"/*.yaml api/crd/*.yaml; do
		if ! cmp -s "api/crd/${f##*/}" "$crds/${f##*/}"; then
			echo "api/crd/${f##*/} is out of date: run hack/generate.sh" >&2
			exit 1
		fi
	done
fi
