# Functions for networks on one machine: members in folders of their own, real
# node processes on loopback. Sourced by run.sh, bench.sh and clean.sh.
# shellcheck shell=bash

# ---- talking -----------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi
STEP=0

step() { STEP=$((STEP + 1)); printf '\n%s%d. %s%s\n' "$BOLD" "$STEP" "$*" "$PLAIN"; }
say() { printf '   %s\n' "$*"; }
good() { printf '   %s✓%s %s\n' "$GREEN" "$PLAIN" "$*"; }
quote() { sed "s/^/   ${DIM}|${PLAIN} /"; }
die() { printf '\n%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; exit 1; }

# ---- programs ----------------------------------------------------------------

CONSILIUM_BIN_DIR=${CONSILIUM_BIN_DIR:-${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/consilium-target}/release}
NODE=$CONSILIUM_BIN_DIR/consilium-node
CLI=$CONSILIUM_BIN_DIR/consilium

require_programs() {
    [[ -x $NODE && -x $CLI ]] || die "the programs are not in $CONSILIUM_BIN_DIR; run: make build"
}

# Reads everything, unlike head: a writer that meets a closed pipe would end the
# script.
first_line() { sed -n 1p; }

# One value out of a line of JSON: json_value FIELD <<<"$line". Enough for the
# flat fields that the demo reads.
json_value() { grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+|true|false|null)" | first_line | sed -E 's/^"[^"]*"://; s/^"//; s/"$//'; }
json_values() { grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" | sed -E 's/^"[^"]*"://; s/^"//; s/"$//'; }

# ---- network -----------------------------------------------------------------

# Set by the caller: DIR, the scratch folder; MEMBERS, trust domains; maybe
# PARAMETERS, NAME=VALUE of the ledger. Filled here:
declare -A NAME_OF PEER_PORT CLIENT_PORT HTTP_PORT PID_OF
PARAMETERS=()

# The part of a trust domain before ".example": the member's folder.
short() { printf '%s\n' "${1%.example}"; }
home_of() { printf '%s/%s\n' "$DIR" "$(short "$1")"; }
client_of() { printf '127.0.0.1:%s\n' "${CLIENT_PORT[$1]}"; }

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Three ports for each member, below the range that the system hands out.
choose_ports() {
    local base member port offset free
    for ((base = 17400; base < 32000; base += 100)); do
        free=1
        for ((offset = 0; offset < 10 * ${#MEMBERS[@]}; offset++)); do
            ((offset % 10 < 3)) || continue
            port_is_free $((base + offset)) || { free=0; break; }
        done
        ((free)) && break
    done
    ((free)) || die "no free ports on 127.0.0.1 between 17400 and 32000"
    port=$base
    for member in "${MEMBERS[@]}"; do
        CLIENT_PORT[$member]=$port PEER_PORT[$member]=$((port + 1)) HTTP_PORT[$member]=$((port + 2))
        port=$((port + 10))
    done
}

# What one organisation does alone, in its own folder: CA, node, keys, and its
# part of the genesis document, made from public files only.
prepare_member() {
    local member=$1 home
    home=$(home_of "$member")
    (umask 077 && mkdir -p "$home/node")
    {
        "$CLI" certs init --member "$member" --dir "$home/ca"
        "$CLI" certs issue --dir "$home/ca" --role node --name n1 --dns localhost --ip 127.0.0.1 --out "$home/node"
        "$CLI" certs issue --dir "$home/ca" --role admin --name registrar --out "$home/admin"
        "$CLI" keys vote --out "$home/node/vote.key"
        "$CLI" member part --id "$member" --name "${NAME_OF[$member]}" --ca "$home/ca/ca.pem" --stake 100 \
            --node "name=n1,peer=127.0.0.1:${PEER_PORT[$member]},client=127.0.0.1:${CLIENT_PORT[$member]},vote-key=$home/node/vote.key.pub" \
            --out "$home/part.pb"
    } >>"$home/setup.log" 2>&1 || { cat "$home/setup.log" >&2; die "preparing $member failed"; }
}

# The ceremony. $DIR/exchange stands for e-mail between the organisations: only
# what lies there ever leaves a member's folder.
genesis_ceremony() {
    local network=$1 member home first=${MEMBERS[0]} log=$DIR/ceremony.log
    local -a parts=() endorsements=() parameters=()
    for member in ${PARAMETERS[@]+"${PARAMETERS[@]}"}; do parameters+=(--parameter "$member"); done
    mkdir -p "$DIR/exchange"
    for member in "${MEMBERS[@]}"; do
        cp "$(home_of "$member")/part.pb" "$DIR/exchange/$(short "$member").part.pb"
        parts+=(--part "$DIR/exchange/$(short "$member").part.pb")
    done
    {
        "$CLI" network init --name "$network" "${parts[@]}" ${parameters[@]+"${parameters[@]}"} --out "$(home_of "$first")/genesis.unsigned.pb"
        cp "$(home_of "$first")/genesis.unsigned.pb" "$DIR/exchange/"
        for member in "${MEMBERS[@]}"; do
            home=$(home_of "$member")
            # Shows what the member is about to endorse; it also complains that
            # endorsements are missing, which is true at this point.
            "$CLI" network inspect "$DIR/exchange/genesis.unsigned.pb" || true
            "$CLI" network endorse --genesis "$DIR/exchange/genesis.unsigned.pb" \
                --certificate "$home/admin/admin-registrar.pem" --key "$home/admin/admin-registrar.key" \
                --out "$home/endorsement.pb"
            cp "$home/endorsement.pb" "$DIR/exchange/$(short "$member").endorsement.pb"
            endorsements+=(--endorsement "$DIR/exchange/$(short "$member").endorsement.pb")
        done
        "$CLI" network assemble --genesis "$DIR/exchange/genesis.unsigned.pb" "${endorsements[@]}" \
            --out "$DIR/exchange/genesis.pb"
    } >>"$log" 2>&1 || { cat "$log" >&2; die "the ceremony failed"; }
    for member in "${MEMBERS[@]}"; do
        cp "$DIR/exchange/genesis.pb" "$(home_of "$member")/genesis.pb"
        "$CLI" network inspect "$(home_of "$member")/genesis.pb" >>"$log" 2>&1 ||
            { tail -n 3 "$log" >&2; die "$member refuses the genesis document"; }
    done
}

write_node_config() {
    local member=$1 home
    home=$(home_of "$member")
    cat >"$home/node/node.toml" <<TOML
data_dir = "data"
genesis = "../genesis.pb"

[identity]
certificate = "node-n1.pem"
key = "node-n1.key"
vote_key = "vote.key"

[listen]
client = "127.0.0.1:${CLIENT_PORT[$member]}"
peer = "127.0.0.1:${PEER_PORT[$member]}"
http = "127.0.0.1:${HTTP_PORT[$member]}"
${NODE_CONFIG_EXTRA:-}
TOML
    "$NODE" init --config "$home/node/node.toml" >>"$home/setup.log" 2>&1 ||
        { tail -n 5 "$home/setup.log" >&2; die "consilium-node init failed for $member"; }
}

start_node() {
    local member=$1 home
    home=$(home_of "$member")
    "$NODE" run --config "$home/node/node.toml" </dev/null >>"$home/node/node.log" 2>&1 &
    PID_OF[$member]=$!
    # The shell is not to announce how it ended.
    disown "$!"
    printf '%s\n' "${PID_OF[$member]}" >"$home/node/pid"
}

# SIGTERM: hands leadership over and stops cleanly. SIGKILL: as a power cut.
stop_node() {
    local member=$1 signal=${2:-TERM} pid=${PID_OF[$1]:-}
    [[ -n $pid ]] || return 0
    unset "PID_OF[$member]"
    kill "-$signal" "$pid" 2>/dev/null || return 0
    local deadline=$((SECONDS + 30))
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            kill -KILL "$pid" 2>/dev/null || true
            deadline=$((SECONDS + 30))
        fi
        sleep 0.05
    done
    rm -f "$(home_of "$member")/node/pid"
}

stop_all() {
    local member
    for member in "${!PID_OF[@]}"; do kill -TERM "${PID_OF[$member]}" 2>/dev/null || true; done
    for member in "${!PID_OF[@]}"; do stop_node "$member"; done
}

http_status() {
    local port=$1 path=$2 line=''
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
    IFS= read -r -t 5 line <&3 || true
    exec 3>&- 3<&-
    [[ $line =~ ^HTTP/1\.[01]\ ([0-9]{3}) ]] && printf '%s\n' "${BASH_REMATCH[1]}"
}

wait_ready() {
    local member=$1 deadline=$((SECONDS + ${2:-60})) home
    home=$(home_of "$member")
    until [[ $(http_status "${HTTP_PORT[$member]}" /readyz 2>/dev/null || true) == 200 ]]; do
        if ! kill -0 "${PID_OF[$member]}" 2>/dev/null; then
            tail -n 20 "$home/node/node.log" >&2
            die "the node of $member ended; its log is above"
        fi
        if ((SECONDS > deadline)); then
            tail -n 20 "$home/node/node.log" >&2
            die "the node of $member is not ready in time; its log is above"
        fi
        sleep 0.1
    done
}

# A service of a member: certificate, keys, profile. $3 is the file of the
# network's search key, which members' services share and no node ever sees.
prepare_service() {
    local member=$1 name=$2 search_key=$3 home folder endpoints='' other
    home=$(home_of "$member")
    folder=$home/$name
    (umask 077 && mkdir -p "$folder")
    endpoints="\"$(client_of "$member")\""
    for other in "${MEMBERS[@]}"; do
        [[ $other == "$member" ]] || endpoints+=", \"$(client_of "$other")\""
    done
    {
        "$CLI" certs issue --dir "$home/ca" --role service --name "$name" --out "$folder"
        "$CLI" keys signing --out "$folder/signing.key"
        "$CLI" keys encryption --out "$folder/encryption.key"
        (umask 077 && cp "$search_key" "$folder/search.key")
    } >>"$home/setup.log" 2>&1 || { cat "$home/setup.log" >&2; die "preparing a service of $member failed"; }
    cat >"$folder/config.toml" <<TOML
genesis = "../genesis.pb"
endpoints = [$endpoints]
certificate = "service-$name.pem"
key = "service-$name.key"
signing_key = "signing.key"
encryption_key = "encryption.key"
search_key = "search.key"
TOML
}

# The profile of a member's administrator, whose certificate prepare_member made.
prepare_admin() {
    local member=$1 home other endpoints
    home=$(home_of "$member")
    endpoints="\"$(client_of "$member")\""
    for other in "${MEMBERS[@]}"; do
        [[ $other == "$member" ]] || endpoints+=", \"$(client_of "$other")\""
    done
    cat >"$home/admin/config.toml" <<TOML
genesis = "../genesis.pb"
endpoints = [$endpoints]
certificate = "admin-registrar.pem"
key = "admin-registrar.key"
TOML
}

# as MEMBER SERVICE ARGS...: the CLI with that service's profile.
as() {
    local folder
    folder=$(home_of "$1")/$2
    shift 2
    "$CLI" --config "$folder/config.toml" "$@"
}

# ---- demos that were left running ---------------------------------------------

# Names the folder of the demo that runs; used by run.sh and clean.sh.
# shellcheck disable=SC2034
KEPT_FILE=${XDG_CACHE_HOME:-$HOME/.cache}/consilium-demo

# Ends the nodes of a folder by their pid files, each only if that process
# still is a consilium-node of this folder.
end_nodes_of() {
    local dir=$1 file pid
    for file in "$dir"/*/node/pid; do
        [[ -f $file ]] || continue
        pid=$(<"$file")
        [[ $pid =~ ^[0-9]+$ ]] || continue
        if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" |
            grep -F "consilium-node run --config $dir/" >/dev/null; then
            kill -TERM "$pid" 2>/dev/null || true
            local deadline=$((SECONDS + 20))
            while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
            kill -KILL "$pid" 2>/dev/null || true
        fi
        rm -f "$file"
    done
}
