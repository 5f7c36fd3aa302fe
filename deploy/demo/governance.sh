#!/usr/bin/env bash
# How members govern: five hospitals on this machine, with the command line
# alone. Stake elects validators, Raft follows; one joins, one is suspended, one
# is caught lying and forgiven. Real processes, mTLS, keys and disks.
#
# DEMO_DIR=DIR uses that (new or empty) folder instead of a temporary one
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/demo/lib.sh
source "$here/lib.sh"

MEMBERS=(st-mary.example north-valley.example lakeside.example harbour.example)
NAME_OF=([st-mary.example]="St Mary Hospital" [north-valley.example]="North Valley Clinic"
    [lakeside.example]="Lakeside Hospital" [harbour.example]="Harbour Medical Centre"
    [greenfield.example]="Greenfield Clinic")
FIFTH=greenfield.example
# Epochs of some seconds and four seats, so that there is something to see.
PARAMETERS=(epoch_ms=4000 max_validators=4 hysteresis_percent=0 unbonding_epochs=1 jail_missed_percent=100)
DOUBLE_SIGN=$CONSILIUM_BIN_DIR/examples/double-sign
started=$SECONDS

require_programs
[[ -x $DOUBLE_SIGN ]] || die "$DOUBLE_SIGN is missing; run: make demo-governance"
if [[ -n ${DEMO_DIR:-} ]]; then
    mkdir -p "$DEMO_DIR"
    [[ -z $(ls -A "$DEMO_DIR") ]] || die "$DEMO_DIR is not empty"
    DIR=$(cd "$DEMO_DIR" && pwd)
else
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/consilium-demo.XXXXXX")
fi
touch "$DIR/.consilium-demo"
watch_pid=''

finish() {
    local status=$?
    trap - EXIT INT TERM
    [[ -z $watch_pid ]] || kill "$watch_pid" 2>/dev/null || true
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

# The secretary of this story: an administrator whose member stays in good
# standing throughout, if not stated otherwise.
asks() { as "$secretary" admin "$@"; }

# Every node that runs, one JSON object each. A node that does not answer, as
# one of a suspended member may not, is left out.
status_json() {
    local member endpoints=''
    for member in "${!PID_OF[@]}"; do endpoints+=,$(client_of "$member"); done
    asks ${TRUST:+--trust "$TRUST"} --endpoints "${endpoints#,}" --output json status 2>/dev/null |
        tr -d '\n' | sed 's/{"endpoint"/\n&/g' || true
}

leader_id() { status_json | grep '"raft_role":"leader"' | json_value leader || true; }

leader_member() { status_json | grep '"raft_role":"leader"' | json_value spiffe_id | sed -E 's|spiffe://([^/]+)/.*|\1|' || true; }

epoch_now() { asks --output json validators epoch | json_value epoch; }

# Whether a member's node has a seat in the present epoch.
has_seat() {
    asks --output json validators epoch | grep -E "\"node\":\"$1/n1\",\"stake\":[0-9]+,\"self_delegation\":[0-9]+,\"power\":[1-9]" >/dev/null
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || die "not in time: $what"
        sleep 0.2
    done
}

is_outranked() { asks validators epoch | grep "$1/n1" | grep "others have more stake" >/dev/null; }
lost_seat() { ! has_seat "$1"; }
settled() { status_json | grep '"raft_role":"leader"' | grep '"reconciliation":"settled"' >/dev/null; }
other_leader() { local now; now=$(leader_id); [[ -n $now && $now != "$1" ]]; }

show_epoch() { asks validators epoch | quote; }

raft_id_of() { asks --output json validators list | grep -oE "\"raft_id\":[0-9]+,\"node\":\"$1/n1\"" | json_value raft_id; }

# decide WORDS...: the secretary proposes, the others approve until it is
# accepted; what the secretary is shown before it signs stands in decide.log.
decide() {
    local number member
    asks --output json governance propose "$@" --yes >"$DIR/proposal.json" 2>"$DIR/decide.log" ||
        { cat "$DIR/decide.log" >&2; die "the proposal was refused"; }
    number=$(json_value number <"$DIR/proposal.json")
    sed -n '/^what it does/,/^$/p' "$DIR/decide.log" | quote
    for member in "${voters[@]}"; do
        [[ $(json_value status <"$DIR/proposal.json") != executed ]] || break
        as "$member" admin --output json governance vote "$number" approve --yes >"$DIR/proposal.json" 2>>"$DIR/decide.log" ||
            { tail -n 5 "$DIR/decide.log" >&2; die "the vote of $member was refused"; }
    done
    grep -q '"status":"executed"' "$DIR/proposal.json" || die "proposal $number was not accepted"
    asks governance show "$number" | sed -n '/^accepted with/,$p' | quote
    good "proposal $number is executed"
}

# Whether somebody has certified this height.
reaches() { (($(status_json | json_values certified_height | sort -n | tail -n 1) >= $1)); }

same_state() {
    local answer wanted=${#PID_OF[@]}
    answer=$(status_json)
    same_height=$(json_values applied_height <<<"$answer" | sort -u)
    same_root=$(json_values state_root <<<"$answer" | sort -u)
    [[ $(json_values state_root <<<"$answer" | wc -l) == "$wanted" && $(wc -l <<<"$same_root") == 1 &&
        $(wc -l <<<"$same_height") == 1 && $(json_values certified_height <<<"$answer" | sort -u) == "$same_height" ]]
}

printf '%sConsilium: how five hospitals govern one ledger%s\n' "$BOLD" "$PLAIN"
printf 'Everything happens in %s\n' "$DIR"

step "Four hospitals found a network: a hundred stake each, four seats, epochs of four seconds."
MEMBERS+=("$FIFTH")
choose_ports
unset 'MEMBERS[4]'
for member in "${MEMBERS[@]}"; do prepare_member "$member"; done
genesis_ceremony governance
for member in "${MEMBERS[@]}"; do write_node_config "$member"; done
for member in "${MEMBERS[@]}"; do start_node "$member"; done
for member in "${MEMBERS[@]}"; do wait_ready "$member"; done
"$CLI" keys search --out "$DIR/search.key" >/dev/null
secretary=${MEMBERS[0]}
voters=("${MEMBERS[@]:1}")
for member in "${MEMBERS[@]}"; do
    prepare_admin "$member"
    as "$member" admin identity enroll >>"$(home_of "$member")/setup.log" 2>&1 ||
        { tail -n 3 "$(home_of "$member")/setup.log" >&2; die "enrolment failed"; }
done
prepare_service "$secretary" ehr "$DIR/search.key"
as "$secretary" ehr identity enroll >/dev/null
as "$secretary" ehr import "$here/patient-bundle.json" --journal "$DIR/journal" >/dev/null 2>&1
first_transaction=$(grep -oE '"certified":\{"transaction":"[0-9a-f]{64}"' "$DIR/journal" | grep -oE '[0-9a-f]{64}' | first_line)
[[ -n $first_transaction ]] || die "the first write was not certified"
show_epoch

step "A fifth one, Greenfield Clinic, makes its part, and the four decide to let it in."
prepare_member "$FIFTH"
decide admit --part "$(home_of "$FIFTH")/part.pb"
raft_id=$(raft_id_of "$FIFTH")

step "It is invited, lays out its node's folder, and starts as a learner with raft id $raft_id."
TRUST=$DIR/exchange/greenfield.invitation.pb
asks member invite --member "$FIFTH" --node n1 --out "$TRUST" | quote
home=$(home_of "$FIFTH")
"$CLI" member join --invitation "$TRUST" --dir "$home/node" --listen-http "127.0.0.1:${HTTP_PORT[$FIFTH]}" >>"$home/setup.log"
cp "$home/node/genesis.pb" "$home/genesis.pb"
"$NODE" init --config "$home/node/node.toml" >>"$home/setup.log" 2>&1 || { tail -n 3 "$home/setup.log" >&2; die "init failed"; }
start_node "$FIFTH"
wait_ready "$FIFTH"
good "${NAME_OF[$FIFTH]}: process ${PID_OF[$FIFTH]} has fetched and verified the ledger from the genesis on"
prepare_admin "$FIFTH"
as "$FIFTH" admin --trust "$TRUST" identity enroll >>"$home/setup.log" 2>&1 || { tail -n 3 "$home/setup.log" >&2; die "enrolment failed"; }
wait_for 20 "an election that knows Greenfield" is_outranked "$FIFTH"
show_epoch
say "Five candidates, four seats: equal stake goes by age, so it waits outside."

leader=$(leader_member)
[[ -n $leader ]] || die "no leader is known"
others=()
for member in "${MEMBERS[@]}"; do [[ $member == "$leader" ]] || others+=("$member"); done
giver=${others[0]} suspended=${others[1]} liar=${others[2]}
secretary=$leader
voters=("$giver" "$liar" "$suspended")

step "${NAME_OF[$giver]} puts 30 of its 100 stake on Greenfield's node, from the next epoch on."
as "$giver" admin stake redelegate --from "$giver/n1" --to "$FIFTH/n1" 30 | quote
wait_for 20 "a seat for Greenfield" has_seat "$FIFTH"
wait_for 20 "Raft to follow" settled
show_epoch
good "Greenfield is seated and votes in Raft; ${NAME_OF[$giver]} is outranked"

step "${NAME_OF[$leader]} leads; it gives half of its stake to ${NAME_OF[$giver]}'s node and thereby its own seat."
leader_raft_id=$(leader_id)
as "$leader" admin stake redelegate --from "$leader/n1" --to "$giver/n1" 50 >/dev/null
wait_for 20 "another leader" other_leader "$leader_raft_id"
wait_for 20 "Raft to follow" settled
show_epoch
grep -q '"handing leadership' "$(home_of "$leader")/node/node.log" || die "the leader did not hand over"
good "node $leader_raft_id had no seat any more and handed leadership to node $(leader_id) before it left"

step "${NAME_OF[$suspended]} follows the ledger over an open stream; the others suspend it."
prepare_service "$suspended" ehr "$DIR/search.key"
as "$suspended" ehr identity enroll >/dev/null
as "$suspended" ehr watch --headers >"$DIR/watch.out" 2>&1 &
watch_pid=$!
disown "$watch_pid"
wait_for 20 "blocks on the stream" test -s "$DIR/watch.out"
voters=("$giver" "$liar")
decide suspend "$suspended"
cut_height=$(grep -oE '"closed_height":[0-9]+' "$DIR/proposal.json" | grep -oE '[0-9]+')
wait_for 20 "later blocks" reaches $((cut_height + 2))
asks status 2>/dev/null | grep "was cut off" | quote
last=$(awk '{ print $1 }' "$DIR/watch.out" | grep -E '^[0-9]+$' | tail -n 1)
((last <= cut_height)) || die "the stream went on to height $last"
if as "$suspended" ehr --endpoints "$(client_of "$leader")" status >/dev/null 2>&1; then die "the suspended member is still served"; fi
has_seat "$suspended" && die "the suspended member has a seat"
good "its stream ended at height $last (the block of its suspension is $cut_height), nobody serves it, its seat went with that block"
kill "$watch_pid" 2>/dev/null || true
watch_pid=''

step "${NAME_OF[$liar]}'s validator signs two headers of one height; whoever has both votes can prove it."
liar_raft_id=$(raft_id_of "$liar")
height=$(asks --output json ledger head | json_value height)
"$DOUBLE_SIGN" "$(home_of "$leader")/genesis.pb" "$(home_of "$liar")/node/vote.key" "$liar_raft_id" "$height" "$DIR/evidence.pb"
asks validators evidence "$DIR/evidence.pb" | quote
wait_for 20 "the end of its seat" lost_seat "$liar"
asks validators penalties | quote
asks stake show "$liar" | first_line | quote
show_epoch
good "a fifth of its stake is gone, its seat went with that block, and only the others can bring it back"

step "It was a restored backup. The others lift the penalty, and let ${NAME_OF[$suspended]} back in."
voters=("$giver" "$liar" "$FIFTH")
decide lift-penalty 1
decide reinstate "$suspended"
wait_for 40 "the liar's seat" has_seat "$liar"
wait_for 40 "the seat of the suspended" has_seat "$suspended"
wait_for 20 "Raft to follow" settled
show_epoch
asks stake show "$liar" | first_line | quote

step "All five nodes have the same state."
wait_for 40 "one state on five nodes" same_state
good "height $same_height, state $same_root"
as "$leader" admin --trust "$TRUST" --endpoints "$(for m in "${!PID_OF[@]}"; do client_of "$m"; done | paste -sd,)" status | quote

step "The receipts of the very first record and of the last ballot verify offline from the genesis document alone."
epochs=$(epoch_now)
last_transaction=$(grep -oE '[0-9a-f]{64}' "$DIR/proposal.json" | first_line)
[[ -n $last_transaction ]] || die "the last ballot has no transaction"
for transaction in "$first_transaction" "$last_transaction"; do
    as "${MEMBERS[0]}" ehr receipt get "$transaction" --out "$DIR/receipt-${transaction:0:8}.pb" >/dev/null
done
stop_all
for transaction in "$first_transaction" "$last_transaction"; do
    "$CLI" --genesis "$(home_of "$FIFTH")/genesis.pb" receipt verify "$DIR/receipt-${transaction:0:8}.pb" | quote
done
good "over $epochs epochs, with the network down"

step "And so does the whole ledger, from the disk of the one that joined last."
"$CLI" ledger verify --data-dir "$(home_of "$FIFTH")/node/data" --genesis "$(home_of "$FIFTH")/genesis.pb" | quote

step "Cleaned up."
printf '\n%sDone in %d seconds.%s\n' "$GREEN" $((SECONDS - started)) "$PLAIN"
