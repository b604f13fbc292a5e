#!/bin/sh
# Debian's own Ironic, to compare ours with. It runs in a folder of its own, on
# loopback, with no message bus and no database server (rpc_transport=none,
# sqlite), without authentication and with fake-hardware, ipmi and redfish:
#
#	hack/ironic-reference.sh install          the packages (root); no service starts by itself
#	hack/ironic-reference.sh start DIR [PORT] until it answers; prints its URL and pid
#	hack/ironic-reference.sh full DIR [PORT]  as people deploy it, to be measured: the API in 8 processes,
#	                                          a conductor, MariaDB; prints its URL and pids
#	hack/ironic-reference.sh stop DIR
#	hack/ironic-reference.sh clear DIR [PORT] stop, forget every node, start
#
# Power is never read by itself (no sync); automated cleaning is on, as by default. In
# full the conductor is called 127.0.0.1, since the API reaches it by its name.
set -eu

usage() {
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
	exit 2
}

install() {
	export DEBIAN_FRONTEND=noninteractive
	missing=""
	for p in ironic-common ironic-api ironic-conductor python3-openstackclient python3-ironicclient python3-openstacksdk mariadb-server python3-pymysql; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	# A service that init would start binds all addresses: nothing is started while packages are set up.
	policy=/usr/sbin/policy-rc.d
	ours=""
	if [ ! -e "$policy" ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
	fi
	status=0
	{ apt-get update -q && apt-get install -y -q --no-install-recommends $missing; } >/tmp/ironic-reference.$$ 2>&1 || status=$?
	[ -z "$ours" ] || rm -f "$policy"
	[ "$status" = 0 ] || tail -n 20 /tmp/ironic-reference.$$ >&2
	rm -f /tmp/ironic-reference.$$
	return "$status"
}

configure() {
	mkdir -p "$dir/images" "$dir/master" "$dir/tftp" "$dir/http" "$dir/lock"
	cat >"$dir/ironic.conf" <<-CONF
		[DEFAULT]
		auth_strategy = noauth
		rpc_transport = $rpc
		host = $host
		my_ip = 127.0.0.1
		use_syslog = false
		log_file = $dir/ironic.log
		state_path = $dir
		enabled_hardware_types = fake-hardware,ipmi,redfish
		enabled_bios_interfaces = fake,no-bios,redfish
		enabled_boot_interfaces = fake,ipxe,pxe,redfish-virtual-media
		enabled_console_interfaces = fake,no-console,ipmitool-socat
		enabled_deploy_interfaces = fake,direct,ramdisk
		enabled_inspect_interfaces = fake,no-inspect,redfish
		enabled_management_interfaces = fake,ipmitool,redfish,noop
		enabled_network_interfaces = noop
		default_network_interface = noop
		enabled_power_interfaces = fake,ipmitool,redfish
		enabled_raid_interfaces = fake,no-raid,agent,redfish
		enabled_rescue_interfaces = fake,no-rescue
		enabled_storage_interfaces = fake,noop,external
		default_storage_interface = noop
		enabled_vendor_interfaces = fake,no-vendor,ipmitool,redfish

		[api]
		host_ip = 127.0.0.1
		port = $port
		api_workers = $workers

		[database]
		connection = $database

		[json_rpc]
		auth_strategy = noauth
		host_ip = 127.0.0.1
		port = $((port + 1))

		[conductor]
		automated_clean = true
		sync_power_state_interval = 0
		enable_mdns = false
		http_root = $dir/http
		http_url = http://127.0.0.1:9

		[deploy]
		http_root = $dir/http
		http_url = http://127.0.0.1:9
		fast_track = false

		[dhcp]
		dhcp_provider = none

		[oslo_concurrency]
		lock_path = $dir/lock

		[pxe]
		images_path = $dir/images
		instance_master_path = $dir/master
		tftp_root = $dir/tftp
		tftp_master_path = $dir/master

		[service_catalog]
		auth_type = none
		endpoint_override = http://127.0.0.1:$port
	CONF
	# Its migrations alter constraints, which sqlite cannot: the schema is made at once instead.
	[ -n "$ready" ] || /usr/bin/ironic-dbsync --config-file "$dir/ironic.conf" create_schema >"$dir/dbsync.log" 2>&1 || {
		tail -n 20 "$dir/dbsync.log" >&2
		return 1
	}
}

running() {
	[ -s "$dir/pid" ] || return 1
	for pid in $(cat "$dir/pid"); do
		kill -0 "$pid" 2>/dev/null || return 1
	done
}

start() {
	if ! running; then
		stop
		rpc=none host=reference workers=1 database=sqlite:///$dir/ironic.sqlite ready=""
		[ ! -s "$dir/ironic.sqlite" ] || ready=yes
		configure
		launch /usr/bin/ironic --config-file "$dir/ironic.conf"
	fi
	answers
}

full() {
	if ! running; then
		stop
		rpc=json-rpc host=127.0.0.1 workers=8 ready=""
		database="mysql+pymysql://root@localhost/ironic?unix_socket=$dir/mysql.sock&charset=utf8"
		if [ -d "$dir/mysql/ironic" ]; then
			ready=yes
		else
			mkdir -p "$dir/mysql"
			chown mysql "$dir" "$dir/mysql"
			mariadb-install-db --user=mysql --datadir="$dir/mysql" --auth-root-authentication-method=normal --skip-test-db >"$dir/mysql-install.log" 2>&1
		fi
		launch mariadbd --no-defaults --user=mysql --datadir="$dir/mysql" --socket="$dir/mysql.sock" --pid-file="$dir/mysql.pid" --skip-networking --innodb-buffer-pool-size=256M
		n=0
		until mariadb --no-defaults --socket="$dir/mysql.sock" -u root -e 'create database if not exists ironic character set utf8' 2>/dev/null; do
			n=$((n + 1))
			[ "$n" -le 60 ] || {
				echo "MariaDB does not come up; see $dir/out.log" >&2
				stop
				return 1
			}
			sleep 0.5
		done
		configure
		launch /usr/bin/ironic-conductor --config-file "$dir/ironic.conf"
		launch /usr/bin/ironic-api --config-file "$dir/ironic.conf"
	fi
	answers
}

# In a session of its own: an interrupt from the keyboard is not for it.
launch() {
	setsid "$@" >>"$dir/out.log" 2>&1 </dev/null &
	echo $! >>"$dir/pid"
}

# Answering is not enough: a node can be made once the conductor has its drivers.
answers() {
	n=0
	until curl -fs "http://127.0.0.1:$port/v1/drivers" 2>/dev/null | grep -q '"fake-hardware"'; do
		n=$((n + 1))
		if [ "$n" -gt 120 ] || ! running; then
			echo "Ironic does not come up; see $dir/ironic.log" >&2
			tail -n 5 "$dir/out.log" >&2
			stop
			return 1
		fi
		sleep 0.5
	done
	echo "http://127.0.0.1:$port pid $(tr '\n' ' ' <"$dir/pid")"
}

# The last that was started ends first: the database outlives those that use it.
stop() {
	[ ! -s "$dir/pid" ] || for pid in $(tac "$dir/pid"); do
		kill "$pid" 2>/dev/null || continue
		n=0
		while kill -0 "$pid" 2>/dev/null; do
			n=$((n + 1))
			[ "$n" -le 40 ] || kill -9 "$pid" 2>/dev/null || true
			sleep 0.25
		done
	done
	rm -f "$dir/pid"
}

verb=${1-}
[ "$verb" != install ] || {
	install
	exit
}
[ $# -ge 2 ] || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)
port=${3:-16385}
case "$verb" in
start) start ;;
full) full ;;
stop) stop ;;
clear)
	stop
	rm -f "$dir/ironic.sqlite"
	start
	;;
*) usage ;;
esac
