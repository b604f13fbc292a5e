#!/bin/sh
# Measures the REST door of a binary beside a real Ironic, in one run:
#
#	hack/ironic-bench.sh BINARY
#
# HOSTS machines (100) are led through their life, and requests are sent about NODES
# nodes (1000). Debian's Ironic is installed (root) and run as docs and baselines have
# it: the API in 8 processes, one conductor, MariaDB, all of whose CPU counts. Unlike
# theirs its conductor is reached by JSON-RPC (no RabbitMQ), and nobody has to log in on
# either side. The machines are pretended, with BMCs of our lab's; the nodes that
# requests are sent about are of the test driver.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || {
	echo "make bench-ironic installs packages: it has to be root" >&2
	exit 1
}
hack/ironic-reference.sh install
dir=$(mktemp -d /tmp/ironic-bench.XXXXXX)
trap 'hack/ironic-reference.sh stop "$dir"; rm -rf "$dir"' EXIT INT TERM
chmod 755 "$dir"
running=$(hack/ironic-reference.sh full "$dir" "${IRONIC_PORT:-16395}")
url=${running%% pid *}
pids=$(echo ${running#* pid } | tr ' ' ',')
"${GO:-go}" run ./e2e/ironic/bench --binary "$1" --hosts "${HOSTS:-100}" --nodes "${NODES:-1000}" --reference "$url" --pids "$pids"
"${GO:-go}" run ./e2e/ironic/bench --binary "$1" --hosts 0 --nodes 10000
