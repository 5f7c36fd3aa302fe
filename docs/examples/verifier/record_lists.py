"""Which records a patient has: its whole lists as a file, one for each kind and level of
confidentiality. Lists only grow, and so does the row that names them: shown in several answers, they
are all that there was at the earliest header. What a file says of kinds and records is checked and not
told: a kind alone may tell of an illness."""
import re

from .list_files import count_and_root, of_list
from .messages import LIST_ENTRY, LIST_NAMES, LOG
from .trees import Tree, goes_on, row, sha256
from .validators import final_header, follow
from .wire import check, decode, number, part, sized

LEVELS = range(1, 7)  # of confidentiality
SHOWN_MAX = 256  # lists that one answer shows
KIND = re.compile("[A-Za-z][A-Za-z0-9.-]{0,63}")


class RecordList:
    """A list as far as it was shown."""

    def __init__(self, patient, kind, level):
        check("a list is of no known level of confidentiality", level in LEVELS)
        self.key = b"\x24" + patient + bytes([level]) + sha256(kind.encode())[:16]
        self.tree, self.records, self.whole = Tree(), set(), False

    def add(self, shown, state_root):
        count, root = count_and_root(row(shown, "list", self.key, state_root, LOG))
        known = self.tree.size
        check(f"a list has {count} entries, and {known} were shown before", known <= count)
        if known:
            check("a list does not go on from what was shown of it before",
                  goes_on((known, self.tree.root()), (count, root), shown.get("consistency_path", [])))
        for encoded in shown.get("entries", []):
            check(f"a list has {count} entries, and more are shown", self.tree.size < count)
            entry = decode(LIST_ENTRY, encoded)
            self.records.add(sized(entry, "record_id", 16))
            self.tree.append(sha256(b"\x00", encoded))
        self.whole = self.tree.size == count
        check("an entry was changed, left out or put in", not self.whole or self.tree.root() == root)


class RecordLists:
    """The lists of a patient, of all kinds or of one, answer by answer."""

    def __init__(self, patient, kind):
        self.patient = patient
        # Which lists there are of all kinds, the first answer says.
        self.lists = [RecordList(patient, kind, level) for level in LEVELS] if kind else None
        self.answers, self.whole = 0, False

    def add(self, answer, state_root):
        check("the file goes on although all lists are whole", not self.whole)
        names = row(answer, "record_lists", b"\x2d" + self.patient, state_root, LIST_NAMES) or {}
        if self.lists is None:
            self.lists = [RecordList(self.patient, name.get("kind", ""), number(name, "confidentiality"))
                          for name in names.get("lists", [])]
        wanted = [entries for entries in self.lists if not entries.whole][:SHOWN_MAX]
        shown = answer.get("lists", [])
        check(f"an answer shows {len(shown)} lists, and is about {len(wanted)}", len(shown) == len(wanted))
        for entries, more in zip(wanted, shown):
            entries.add(more, state_root)
        self.whole = all(entries.whole for entries in self.lists)
        progress = any(entries.whole or more.get("entries") for entries, more in zip(wanted, shown))
        check("an answer shows nothing of the lists that it is about", self.answers == 0 or self.whole or progress)
        self.answers += 1

    def total(self):
        """How many lists, entries and records. A list without entries is proven not to be there; a
        record whose confidentiality was changed stands in several."""
        there = [entries for entries in self.lists if entries.tree.size]
        return len(there), sum(entries.tree.size for entries in there), len(set().union(*(e.records for e in there)))


def verify_record_lists(founding, ledger, data):
    """Says what a file proves of which records a patient has."""
    of, changes = of_list(data, "record_lists")
    patient, kind = sized(of, "patient", 16), of.get("kind", "")
    check("the kind is no name of a kind", not kind or KIND.fullmatch(kind))
    sets = follow(founding, changes, ledger)
    gathered, earliest, newest = RecordLists(patient, kind), None, 0
    for answer in of.get("answers", []):
        header, certified = final_header(part(answer, "header"), sets, ledger)
        gathered.add(answer, sized(header, "state_root"))
        newest = max(newest, certified)
        if earliest is None or number(header, "height") < number(earliest, "height"):
            earliest = header
    check("the file ends before all lists are whole", gathered.whole)
    check("the changes of the validators go on beyond the newest header", newest > sets[-1][0])
    lists, entries, records = gathered.total()
    kinds = "one kind, and nothing of others" if kind else "all kinds"
    return (f"verified: the lists of records of patient {patient.hex()}, of {kinds}, are {lists} with {entries} "
            f"entries of {records} records, and are whole up to block {number(earliest, 'height')} at "
            f"{number(earliest, 'time_ms')} ms of ledger {ledger.hex()}")
