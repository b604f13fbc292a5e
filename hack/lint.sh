#!/bin/sh
# gofumpt and golangci-lint at the versions this tree is clean with. They are
# built once from the module proxy into .cache/tools.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.cache/tools
tool() {
	name=$1 pkg=$2 version=$3
	if [ ! -x "$tools/$name-$version" ]; then
		mkdir -p "$tools"
		GOBIN=$tools go install "$pkg@$version"
		mv "$tools/$name" "$tools/$name-$version"
	fi
}
tool gofumpt mvdan.cc/gofumpt v0.12.0
tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
unformatted=$("$tools/gofumpt-v0.12.0" -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	echo "not formatted (run gofumpt -w):" $unformatted >&2
	exit 1
fi
"$tools/golangci-lint-v2.15.0" run ./...
