#!/usr/bin/env bash
# Stops and removes a demo network that `KEEP=1 make demo` left running.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=deploy/demo/lib.sh
source ./lib.sh

[[ -f $KEPT_FILE ]] || { echo "no demo network was left running"; exit 0; }
dir=$(<"$KEPT_FILE")
if [[ -f $dir/.consilium-demo ]]; then
    end_nodes_of "$dir"
    rm -rf -- "$dir"
    echo "stopped, and removed $dir"
fi
rm -f "$KEPT_FILE"
