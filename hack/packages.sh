#!/bin/sh
# Sees to it that the system packages of a purpose are there: as root it installs
# what is missing, otherwise it prints the one line that does and stops.
#   hack/packages.sh test|demo|e2e
set -eu
case "${1-}" in
test) want="ipxe" ;;
demo) want="qemu-system-x86 ovmf ipxe ipxe-qemu grub-pc-bin grub-common systemd-boot-efi dosfstools mtools fdisk kmod binutils zstd cpio ca-certificates" ;;
e2e) want="qemu-system-x86 qemu-utils ovmf ipxe ipxe-qemu grub-pc-bin grub-common systemd-boot-efi dosfstools mtools fdisk kmod binutils zstd cpio xorriso mmdebstrap e2fsprogs iproute2 ipmitool mdadm openipmi python3-sushy python3-pyghmi python3-openstackclient python3-ironicclient python3-openstacksdk ca-certificates" ;;
*)
	echo "usage: $0 test|demo|e2e" >&2
	exit 2
	;;
esac
if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "this is no Debian: have these or their like installed: $want" >&2
	exit 0
fi
missing=""
for p in $want; do
	case "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "packages are missing. Run this, then the same make again:" >&2
	echo "  sudo apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	exit 1
fi
rm -f "$log"
