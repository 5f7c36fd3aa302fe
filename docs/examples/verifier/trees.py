"""Merkle trees: the ledger's and those of lists (RFC 9162), and the authenticated state."""
import hashlib

from .wire import check, decode, part

PATH_MAX = 64


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def domain(name):
    return bytes([len(name)]) + name


def root_from_path(leaf, index, size, path):
    """RFC 9162, 2.1.3.2."""
    node, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            leaf = sha256(b"\x01", sibling, leaf)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = sha256(b"\x01", leaf, sibling)
        node, last = node >> 1, last >> 1
    return leaf if last == 0 else None


def root_of(leaf, index, size, path):
    """The root to which a path leads, or None."""
    check("the index is outside the tree", index < size)
    check("the path is malformed", len(path) <= PATH_MAX and all(len(sibling) == 32 for sibling in path))
    return root_from_path(leaf, index, size, path)


def goes_on(before, after, path):
    """RFC 9162, 2.1.4.2: whether a tree is the beginning of another; each is its size and its root."""
    check("the path is malformed", len(path) <= PATH_MAX and all(len(sibling) == 32 for sibling in path))
    (size, root), (size_after, root_after) = before, after
    if size == size_after:
        return root == root_after and not path
    path = list(path) if size & size - 1 else [root, *path]
    if not path:
        return False
    node, last = size - 1, size_after - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = sha256(b"\x01", sibling, old), sha256(b"\x01", sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = sha256(b"\x01", new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == root and new == root_after


class Tree:
    """RFC 9162, 2.1.1: a tree that grows, as its perfect subtrees, the largest first. The root is
    found at any size without hashing all leaves again."""

    def __init__(self):
        self.size, self.subtrees = 0, []

    def append(self, entry_hash):
        place, node = self.size, entry_hash
        while place & 1:
            place, node = place >> 1, sha256(b"\x01", self.subtrees.pop(), node)
        self.subtrees.append(node)
        self.size += 1

    def root(self):
        if not self.subtrees:
            return sha256()
        *larger, root = self.subtrees
        for subtree in reversed(larger):
            root = sha256(b"\x01", subtree, root)
        return root


def state_proof(data):
    """Where the path of a key ends (0 empty, 1 present, 2 another leaf, which comes with it), and
    the siblings from the root downwards. See "Authenticated state"."""
    check("a state proof ends too early", len(data) >= 4)
    terminal, count = data[1], int.from_bytes(data[2:4], "big")
    check("a state proof has another version, end or length", data[0] == 1 and terminal <= 2 and count <= 256)
    size = (count + 7) // 8
    at, bitmap = 4 + size, int.from_bytes(data[4:4 + size], "big")
    check("a state proof has spare bits", bitmap % (1 << 8 * size - count) == 0)
    other = (data[at:at + 32], data[at + 32:at + 64])
    at += 64 if terminal == 2 else 0
    siblings = []
    for i in range(count):
        sibling = bytes(32)
        if bitmap >> (8 * size - 1 - i) & 1:
            sibling, at = data[at:at + 32], at + 32
            check("a sibling is empty but written out", sibling != bytes(32))
        siblings.append(sibling)
    check("a state proof has another length", at == len(data))
    return terminal, other, siblings


def bit(place, depth):
    return place[depth // 8] >> 7 - depth % 8 & 1


def row(answer, name, key, state_root, kinds):
    """The message that the state holds under a key; None if it is proven to hold nothing."""
    shown = part(answer, name)
    check(f"{name} is another row", shown.get("key", b"") == key)
    value, place = shown.get("value", b""), sha256(key)
    terminal, other, siblings = state_proof(shown.get("proof", b""))
    if value or terminal == 1:
        check(f"{name} is proven to be absent", terminal == 1)
        node = sha256(b"\x00consilium/state/leaf/v1", place, sha256(value))
    elif terminal == 0:
        node = bytes(32)
    else:
        shared = all(bit(place, depth) == bit(other[0], depth) for depth in range(len(siblings)))
        check(f"{name}: the other leaf is not on the path", shared and other[0] != place)
        node = sha256(b"\x00consilium/state/leaf/v1", *other)
    for depth in reversed(range(len(siblings))):
        pair = (siblings[depth], node) if bit(place, depth) else (node, siblings[depth])
        node = sha256(b"\x01consilium/state/node/v1", *pair)
    check(f"{name} is not in the state", node == state_root)
    return decode(kinds, value) if value or terminal == 1 else None
