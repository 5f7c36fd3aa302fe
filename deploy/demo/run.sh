#!/usr/bin/env bash
# The demonstration: four hospitals on this machine, from the founding ceremony
# to an audit with the network down. Real processes, mTLS, keys and disks.
#
# KEEP=1       leaves the network running and says how to talk to it
# DEMO_DIR=DIR uses that (new or empty) folder instead of a temporary one
# CONSILIUM_SHARED=DIR  where data/fhir with sample records is looked for
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/demo/lib.sh
source "$here/lib.sh"

MEMBERS=(st-mary.example north-valley.example lakeside.example harbour.example)
NAME_OF=([st-mary.example]="St Mary Hospital" [north-valley.example]="North Valley Clinic"
    [lakeside.example]="Lakeside Hospital" [harbour.example]="Harbour Medical Centre")
MARY=st-mary.example LAKE=lakeside.example HARBOUR=harbour.example
KEEP=${KEEP:-0}
SHARED=${CONSILIUM_SHARED:-$here/../../../shared}
started=$SECONDS

require_programs
if [[ -f $KEPT_FILE && -f $(<"$KEPT_FILE")/.consilium-demo ]]; then
    die "a demo network is still there, in $(<"$KEPT_FILE"); stop it with: make clean-demo"
fi
if [[ -n ${DEMO_DIR:-} ]]; then
    mkdir -p "$DEMO_DIR"
    [[ -z $(ls -A "$DEMO_DIR") ]] || die "$DEMO_DIR is not empty"
    DIR=$(cd "$DEMO_DIR" && pwd)
else
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/consilium-demo.XXXXXX")
fi
touch "$DIR/.consilium-demo"
kept=0

finish() {
    local status=$?
    trap - EXIT INT TERM
    if ((kept)); then
        exit "$status"
    fi
    stop_all
    if ((status == 0 || status == 130 || status == 143)); then
        rm -rf -- "$DIR"
    else
        printf 'The logs and files of this run are in %s\n' "$DIR" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

member_of_client_port() {
    local member
    for member in "${MEMBERS[@]}"; do
        if [[ $(client_of "$member") == "$1" ]]; then printf '%s\n' "$member"; return; fi
    done
    return 1
}

status_json() { as "$MARY" ehr --output json status --all 2>/dev/null || true; }

leader_member() {
    local endpoint
    endpoint=$(status_json | tr -d '\n' | sed 's/{"endpoint"/\n&/g' | grep '"raft_role":"leader"' |
        json_value endpoint) && [[ -n $endpoint ]] && member_of_client_port "$endpoint"
}

# Waits until all four nodes report the same height, executed and certified,
# and the same state root.
wait_same_state() {
    local deadline=$((SECONDS + 60)) answer certified
    while ((SECONDS < deadline)); do
        answer=$(status_json)
        same_height=$(json_values applied_height <<<"$answer" | sort -u)
        certified=$(json_values certified_height <<<"$answer" | sort -u)
        same_root=$(json_values state_root <<<"$answer" | sort -u)
        if [[ $(json_values state_root <<<"$answer" | wc -l) == 4 && $(wc -l <<<"$same_root") == 1 &&
            $(wc -l <<<"$same_height") == 1 && $certified == "$same_height" ]]; then
            return 0
        fi
        sleep 0.2
    done
    as "$MARY" ehr status --all >&2 || true
    die "the four nodes do not reach one state"
}

certified_in() { grep -oE '"certified":\{"transaction":"[0-9a-f]{64}"' "$1" 2>/dev/null | grep -oE '[0-9a-f]{64}' || true; }

printf '%sConsilium: four hospitals, one ledger%s\n' "$BOLD" "$PLAIN"
printf 'Everything happens in %s\n' "$DIR"

step "Each hospital prepares alone: its certificate authority, one node, its keys."
choose_ports
for member in "${MEMBERS[@]}"; do
    prepare_member "$member"
    good "${NAME_OF[$member]} ($member) has a CA and a node; its private keys stay in $(short "$member")/"
done

step "They found the network: parts are exchanged, inspected and endorsed."
genesis_ceremony demo
for file in "$DIR"/exchange/*; do
    if grep -aq "PRIVATE KEY" "$file"; then die "a private key left its owner: $file"; fi
done
good "only public files were exchanged: $(find "$DIR/exchange" -type f -printf '%f\n' | sort | paste -sd' ')"
"$CLI" network inspect "$(home_of "$MARY")/genesis.pb" | sed -n '1,5p' | quote

step "Each hospital starts its node."
for member in "${MEMBERS[@]}"; do write_node_config "$member"; done
for member in "${MEMBERS[@]}"; do start_node "$member"; done
for member in "${MEMBERS[@]}"; do
    wait_ready "$member"
    good "${NAME_OF[$member]}: process ${PID_OF[$member]}, clients on $(client_of "$member"), ready"
done

step "Three hospitals connect a service each, which enrols its keys on the ledger."
(umask 077 && mkdir -p "$DIR/services-only")
"$CLI" keys search --out "$DIR/services-only/search.key" >/dev/null
for member in "$MARY" "$LAKE" "$HARBOUR"; do
    prepare_service "$member" ehr "$DIR/services-only/search.key"
    as "$member" ehr identity enroll >>"$(home_of "$member")/setup.log" 2>&1 ||
        { tail -n 3 "$(home_of "$member")/setup.log" >&2; die "enrolment failed"; }
    good "spiffe://$member/service/ehr is enrolled"
done
say "The services share one search key among themselves. No node ever sees it."

step "St Mary's service submits a synthetic patient's records, readable also for Lakeside's."
mkdir -p "$DIR/input/further"
if compgen -G "$SHARED/data/fhir/bundles/*.json" >/dev/null; then
    # The smallest Bundle is the patient; all others are the load for later.
    patient_file=$(find "$SHARED/data/fhir/bundles" -name '*.json' -printf '%s %p\n' | sort -n | first_line | cut -d' ' -f2-)
    find "$SHARED/data/fhir/bundles" -name '*.json' ! -path "$patient_file" -exec cp -t "$DIR/input/further" {} +
    chmod -R u+w "$DIR/input"
else
    patient_file=$here/patient-bundle.json
    for n in $(seq 2 50); do
        sed "s/00000000001\"/$(printf '%011d' "$n")\"/g" "$patient_file" >"$DIR/input/further/patient-$n.json"
    done
fi
patient=$(grep -oE '"fullUrl": *"urn:uuid:[^"]*"' "$patient_file" | first_line | grep -oE 'urn:uuid:[^"]*')
family=$(grep -oE '"family": *"[^"]*"' "$patient_file" | first_line | sed -E 's/.*: *"//; s/"$//')
as "$MARY" ehr import "$patient_file" --recipient "spiffe://$LAKE/service/ehr" \
    --journal "$DIR/st-mary/first.journal" 2>&1 | quote
first_transaction=$(certified_in "$DIR/st-mary/first.journal" | first_line)
[[ -n $first_transaction ]] || die "the import certified nothing"

step "Lakeside's service finds and opens them; Harbour's, to whom they are not addressed, finds nothing."
as "$LAKE" ehr --output json record query --patient "$patient" --limit 10000 >"$DIR/lakeside.found" 2>/dev/null
found=$(grep -oE '"record_id":"[0-9a-f]{32}"' "$DIR/lakeside.found" | wc -l)
((found > 0)) || die "Lakeside found no records"
good "Lakeside found $found records of the patient by a blinded search"
record=$(as "$LAKE" ehr --output json record query --patient "$patient" --kind Patient --limit 1 2>/dev/null | json_value record_id)
as "$LAKE" ehr record get "$record" --out "$DIR/lakeside/patient.json"
original=$(<"$patient_file")
opened=$(<"$DIR/lakeside/patient.json")
[[ $original == *"$opened"* ]] || die "the opened record is not what was submitted"
good "it decrypted the Patient resource: $(wc -c <"$DIR/lakeside/patient.json") bytes, byte for byte as submitted"
hidden=$(as "$HARBOUR" ehr --output json record query --patient "$patient" 2>/dev/null | grep -cE '"record_id"' || true)
[[ $hidden == 0 ]] || die "Harbour sees records that are not for it"
good "Harbour's query gives an empty list"

step "The leader is killed with SIGKILL in the middle of a larger import."
journal=$DIR/st-mary/second.journal
as "$MARY" ehr import "$DIR/input/further" --recipient "spiffe://$LAKE/service/ehr" --journal "$journal" \
    >"$DIR/import.out" 2>"$DIR/import.err" &
import_pid=$!
leader=$(leader_member) || die "no leader is known"
deadline=$((SECONDS + 60))
until (($(certified_in "$journal" | wc -l) >= 2)); do
    kill -0 "$import_pid" 2>/dev/null || break
    ((SECONDS < deadline)) || die "the import makes no progress; see $DIR/import.err"
    sleep 0.02
done
leader=$(leader_member) || die "no leader is known"
certified_in "$journal" | sort >"$DIR/certified-before-kill"
kill -0 "$import_pid" 2>/dev/null || die "the import was over before the leader could be killed; nothing was shown"
stop_node "$leader" KILL
good "${NAME_OF[$leader]} led and is gone; until then $(wc -l <"$DIR/certified-before-kill") transactions had been answered as certified"
if wait "$import_pid"; then
    good "the import went on with the other three and finished"
    tail -n 3 "$DIR/import.out" | quote
else
    cat "$DIR/import.err" >&2
    die "the import failed"
fi

step "Nothing was lost."
certified_in "$journal" | sort -u >"$DIR/certified"
total=$(wc -l <"$DIR/certified")
[[ -z $(comm -23 "$DIR/certified-before-kill" "$DIR/certified") ]] || die "the journal forgot a transaction"
start_node "$leader"
wait_ready "$leader"
wait_same_state
good "${NAME_OF[$leader]} is back and caught up"
for member in "${MEMBERS[@]}"; do
    present=$(xargs -P 4 -I ID "$CLI" --config "$(home_of "$MARY")/ehr/config.toml" --endpoints "$(client_of "$member")" \
        --output json tx status ID <"$DIR/certified" 2>/dev/null | grep -ciE '"status":"certified"' || true)
    [[ $present == "$total" ]] || die "$member knows only $present of $total certified transactions"
    good "${NAME_OF[$member]}: all $total certified transactions are there"
done
good "all four nodes have the same state at height $same_height: $same_root"
as "$MARY" ehr status --all | quote

step "A receipt is verified offline, with the genesis document alone."
as "$MARY" ehr receipt get "$first_transaction" --out "$DIR/receipt.pb" >/dev/null
"$CLI" --genesis "$(home_of "$HARBOUR")/genesis.pb" receipt verify "$DIR/receipt.pb" | quote
size=$(wc -c <"$DIR/receipt.pb")
{ head -c $((size / 2)) "$DIR/receipt.pb"; printf '\x5a\xa5'; tail -c +$((size / 2 + 3)) "$DIR/receipt.pb"; } >"$DIR/forged.pb"
if "$CLI" --genesis "$(home_of "$HARBOUR")/genesis.pb" receipt verify "$DIR/forged.pb" >/dev/null 2>&1; then
    die "a forged receipt was accepted"
fi
good "the receipt holds; a copy with two bytes changed is refused"

step "The nodes never saw what the records say."
if grep -rlaF -- "$family" "$DIR"/*/node >/dev/null 2>&1; then die "a node holds plaintext"; fi
good "the patient's family name is in no file and no log of the four nodes"

step "With all nodes stopped, the whole ledger is verified from one hospital's disk."
stop_all
"$CLI" ledger verify --data-dir "$(home_of "$HARBOUR")/node/data" --genesis "$(home_of "$HARBOUR")/genesis.pb" | quote
good "the ledger verifies; nothing that a node said was taken on trust"

if [[ $KEEP == 1 ]]; then
    step "The network is started again and left running."
    for member in "${MEMBERS[@]}"; do start_node "$member"; done
    for member in "${MEMBERS[@]}"; do wait_ready "$member"; done
    mkdir -p "$(dirname "$KEPT_FILE")"
    printf '%s\n' "$DIR" >"$KEPT_FILE"
    kept=1
    cat <<TEXT

   Talk to it as St Mary's service:
     export PATH="$CONSILIUM_BIN_DIR:\$PATH" CONSILIUM_CONFIG="$(home_of "$MARY")/ehr/config.toml"
     consilium status --all
     consilium record query --patient $patient
     consilium watch --after 0
   Logs: $DIR/*/node/node.log
   Metrics: http://127.0.0.1:${HTTP_PORT[$MARY]}/metrics
   Stop and remove it: make clean-demo
TEXT
else
    step "Cleaned up."
fi
printf '\n%sDone in %d seconds.%s\n' "$GREEN" $((SECONDS - started)) "$PLAIN"
