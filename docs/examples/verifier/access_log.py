"""Who has asked to read a patient's records: the whole list of accesses as a file."""
from .decisions import unit_of
from .list_files import count_and_root, of_list
from .messages import EVENT, LOG
from .trees import Tree, row, sha256
from .validators import follow, newest_header
from .wire import check, decode, number, part, sized

YEAR_MS = 366 * 24 * 60 * 60 * 1000  # for which an entry may be sealed at most


def entries_of(shown, patient, now):
    """The tree of a list; of what is sealed the file has nothing but the leaf."""
    sealed, events = list(shown.get("sealed", [])), list(shown.get("events", []))
    tree, longest = Tree(), 0
    for entry in sealed:
        sized(entry, "leaf_hash")
    sealed.reverse()
    events.reverse()
    while True:
        place = tree.size
        if sealed and number(sealed[-1], "sequence") == place:
            entry = sealed.pop()
            until = number(entry, "until_ms")
            check(f"entry {place} cannot be sealed so long, or is not any more", now < until <= now + YEAR_MS)
            longest = max(longest, until)
            tree.append(entry["leaf_hash"])
        elif events:
            encoded = events.pop()
            event = decode(EVENT, encoded)
            check(f"entry {place} says that it is another", number(event, "sequence") == place)
            check(f"entry {place} is of another patient", sized(event, "patient", 16) == patient)
            unit_of(event)
            check("an entry before this one is sealed too long", longest <= number(event, "time_ms") + YEAR_MS)
            tree.append(sha256(b"\x00", encoded))
        else:
            check("a sealed entry has no place", not sealed)
            return tree


def verify_access_log(founding, ledger, data):
    """Says what a file proves of who has asked to read a patient's records."""
    of, changes = of_list(data, "access_log")
    patient, shown = sized(of, "patient", 16), part(of, "log")
    header = newest_header(part(shown, "header"), follow(founding, changes, ledger), ledger)
    count, root = count_and_root(row(shown, "log", b"\x23" + patient, sized(header, "state_root"), LOG))
    tree = entries_of(shown, patient, number(header, "time_ms"))
    check(f"the list has {count} entries, and {tree.size} are shown", tree.size == count)
    check("an entry was changed, left out or put in", tree.root() == root)
    return (f"verified: the list of accesses to the records of patient {patient.hex()} has {count} entries, "
            f"{len(shown.get('sealed', []))} of them withheld (lawfully, by the word of whoever made the file), "
            f"and is whole up to block {number(header, 'height')} at {number(header, 'time_ms')} ms of ledger "
            f"{ledger.hex()}")
