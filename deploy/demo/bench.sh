#!/usr/bin/env bash
# Load on a network of three nodes on this machine; every argument goes to
# `consilium bench` (default: --clients 64 --seconds 20).
#
# BENCH_DIR=DIR  where the nodes keep their data. It must be on a real disk:
#                the figures mean little where fsync does nothing.
# MEMBERS_N=4    number of members, 1 to 7 (default 3)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/demo/lib.sh
source "$here/lib.sh"

require_programs
MEMBERS=()
for n in $(seq "${MEMBERS_N:-3}"); do
    MEMBERS+=("hospital-$n.example")
    NAME_OF["hospital-$n.example"]="Hospital $n"
done
parent=${BENCH_DIR:-${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/consilium-target}}
mkdir -p "$parent"
DIR=$(mktemp -d "$parent/consilium-bench.XXXXXX")

finish() {
    local status=$?
    trap - EXIT INT TERM
    stop_all
    if ((status == 0 || status == 130 || status == 143)); then rm -rf -- "$DIR"; else echo "files of this run: $DIR" >&2; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

choose_ports
for member in "${MEMBERS[@]}"; do prepare_member "$member"; done
genesis_ceremony bench
for member in "${MEMBERS[@]}"; do write_node_config "$member"; done
for member in "${MEMBERS[@]}"; do start_node "$member"; done
for member in "${MEMBERS[@]}"; do wait_ready "$member"; done
"$CLI" keys search --out "$DIR/search.key" >/dev/null
prepare_service "${MEMBERS[0]}" bench "$DIR/search.key"
as "${MEMBERS[0]}" bench identity enroll >/dev/null

printf '%d nodes, %s processors, data on %s (%s)\n' "${#MEMBERS[@]}" "$(nproc)" "$(stat -f -c %T "$DIR")" "$DIR"
(($# > 0)) || set -- --clients 64 --seconds 20
pids=$(IFS=,; echo "${PID_OF[*]}")
as "${MEMBERS[0]}" bench bench --pids "$pids" "$@"
as "${MEMBERS[0]}" bench status --all
