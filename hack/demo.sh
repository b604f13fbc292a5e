#!/bin/sh
# The main job, end to end, on emulated machines: enrolled, booted by our own
# servers, inspected, written, started from their own disks. Everything lies in a
# directory of its own, which is removed afterwards.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/ingot-demo.XXXXXX")
trap 'rm -rf "$dir"' EXIT
exec 3>&1
unset KUBECONFIG
HOME=$dir bin/ingot lab up --machines "${MACHINES:-2}" --data-dir "$dir" --boot-files out \
	--provision out/demo.raw --first-boot --exit
