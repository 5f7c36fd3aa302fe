"""Files of whole lists: what they have in common. What is too much is not decoded, since an element
takes far more memory than its bytes, and whoever made the file may be anybody."""
from .messages import LIST_PROOF
from .trees import sha256
from .wire import check, decode, field_key, number, part, sized, skip

BYTES_MAX = 64 * 1024 * 1024
ENTRIES_MAX, ROWS_MAX, SEATS_MAX = 1_000_000, 100_000, 1_000_000
# How often a field may stand in a file in all, by the numbers of the fields that lead to it.
LIMITS = {
    (4,): ROWS_MAX,  # set_changes
    (4, 1, 2, 3): SEATS_MAX,  # their signatures
    (4, 2, 1): SEATS_MAX,  # their seats
    (5, 2, 1): ENTRIES_MAX,  # events of a log
    (5, 2, 5): ENTRIES_MAX,  # sealed ones
    (5, 2, 3): ROWS_MAX,  # hashes of its consistency path
    (5, 2, 4, 2): ROWS_MAX,  # its headers
    (5, 2, 4, 3, 3): SEATS_MAX,  # signatures
    (6, 3): ROWS_MAX,  # answers about lists of records
    (6, 3, 2): ROWS_MAX,  # lists in them
    (6, 3, 2, 2): ENTRIES_MAX,  # entries
    (6, 3, 2, 3): ENTRIES_MAX,  # hashes of consistency paths
    (6, 3, 3, 2): ROWS_MAX,  # headers
    (6, 3, 3, 3, 3): SEATS_MAX,  # signatures
}
WITHIN = {path[:depth] for path in LIMITS for depth in range(1, len(path))}


def check_counts(data, above=(), found=None):
    """Nothing stands in a message more often than it may."""
    found = {} if found is None else found
    at = 0
    while at < len(data):
        field, wire, at = field_key(data, at)
        end, begin = skip(data, at, field, wire)
        path = (*above, field)
        if path in LIMITS:
            found[path] = found.get(path, 0) + 1
            check("the file has more of something than a file may have", found[path] <= LIMITS[path])
        if wire == 2 and path in WITHIN:
            check_counts(data[begin:end], path, found)
        at = end


def of_list(data, name):
    """What a file says, which is of one list and no other, and the changes of the validators in it."""
    check("the file is too large", len(data) <= BYTES_MAX)
    check_counts(data)
    file = decode(LIST_PROOF, data)
    check("the file is no list, or of a newer format", number(file, "format") == 1)
    shown = part(file, name)
    check("the file is of something else, too", ("access_log" in file) != ("record_lists" in file))
    return shown, file.get("set_changes", [])


def count_and_root(log):
    """Of a list's row; one that is not there is an empty list."""
    return (0, sha256()) if log is None else (number(log, "count"), sized(log, "root"))
