#!/usr/bin/env bash
# Starts a SPIRE server and agent on this machine, registers the current user's processes as a workload, and prints where
# its Workload API is. Everything lives in a temporary directory and ends with this script.
#
#   lab/spire/up.sh                 until Ctrl-C or the end of standard input
#   lab/spire/up.sh command …       for as long as the command runs, with SPIFFE_ENDPOINT_SOCKET set for it
#
# SPIRE_ID is the workload's SPIFFE ID (spiffe://kest.lab/workload), SPIRE_PORT the server's port (18081).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
id=${SPIRE_ID:-spiffe://kest.lab/workload}
port=${SPIRE_PORT:-18081}
node=spiffe://kest.lab/node

for program in spire-server spire-agent; do
	if ! command -v "$program" >/dev/null; then
		echo "up.sh: $program is not on the PATH; see https://spiffe.io/downloads" >&2
		exit 69
	fi
done

umask 077                    # what is in the directory is this user's
dir=$(mktemp -d /tmp/kest-spire.XXXXXX) # short: the path of a socket has at most 107 bytes
pids=()

down() {
	trap - EXIT INT TERM
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_ok waits for a command to succeed while a process lives.
until_ok() {
	local pid=$1 log=$2 tries=150
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ! kill -0 "$pid" 2>/dev/null || ((tries-- == 0)); then
			echo "up.sh: this did not succeed: $*" >&2
			tail -n 20 "$log" >&2
			exit 1
		fi
		sleep 0.2
	done
}

mkdir "$dir/server" "$dir/agent"
for config in server.conf agent.conf; do
	sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$port|g" "$here/$config" >"$dir/$config"
done

spire-server run -config "$dir/server.conf" >"$dir/server.log" 2>&1 &
pids+=($!)
server=(-socketPath "$dir/server.sock")
until_ok "${pids[0]}" "$dir/server.log" spire-server healthcheck "${server[@]}"

spire-server bundle show "${server[@]}" >"$dir/bundle.pem"
token=$(spire-server token generate "${server[@]}" -spiffeID "$node" -ttl 120 | sed -n 's/^Token: *//p')
if [ -z "$token" ]; then
	echo "up.sh: the server gave no join token" >&2
	exit 1
fi
spire-server entry create "${server[@]}" -parentID "$node" -spiffeID "$id" -selector "unix:uid:$(id -u)" >/dev/null

# The token is an argument, which others on this machine can see. It is good for one use, for this server only.
spire-agent run -config "$dir/agent.conf" -joinToken "$token" >"$dir/agent.log" 2>&1 &
pids+=($!)
until_ok "${pids[1]}" "$dir/agent.log" spire-agent healthcheck -socketPath "$dir/agent.sock"
# The agent hears of the entry within its next sync.
until_ok "${pids[1]}" "$dir/agent.log" spire-agent api fetch x509 -socketPath "$dir/agent.sock"

export SPIFFE_ENDPOINT_SOCKET="unix://$dir/agent.sock"
echo "SPIFFE_ENDPOINT_SOCKET=$SPIFFE_ENDPOINT_SOCKET"
echo "SPIRE_SERVER_SOCKET=$dir/server.sock"

if (($# > 0)); then
	"$@"
else
	echo "up.sh: running; end with Ctrl-C" >&2
	while read -r _; do :; done # until the end of standard input; a signal interrupts it, where it would not interrupt cat
fi
