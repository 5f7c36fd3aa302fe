"""Encoded messages: read without generated code, and as strictly as the library reads them."""


class NotVerified(Exception):
    """Why something proves nothing."""


def check(what, true):
    if not true:
        raise NotVerified(what)


# What a field number means: a dict is a message, a list is repeated.
U64, U32, I32, BYTES, TEXT = "u64", "u32", "i32", "bytes", "text"


def varint(data, at):
    value = 0
    for n, byte in enumerate(data[at:at + 10]):
        value |= (byte & 0x7f) << 7 * n
        if byte < 0x80:
            check("a number is too large", value < 1 << 64)
            return value, at + n + 1
    raise NotVerified("a number does not end")


def field_key(data, at):
    key, at = varint(data, at)
    number, wire = key >> 3, key & 7
    check("a field has no valid number or type", key < 1 << 32 and number and wire < 6)
    return number, wire, at


def skip(data, at, number, wire, depth=0):
    """The end of a field, and where its content begins."""
    check("groups are nested too deeply", depth < 90)
    begin = at
    if wire == 0:
        _, end = varint(data, at)
    elif wire == 2:
        size, begin = varint(data, at)
        end = begin + size
    elif wire == 3:
        end = at
        while True:
            inner, inner_wire, end = field_key(data, end)
            if inner_wire == 4:
                check("a group ends that did not begin", inner == number)
                break
            end, _ = skip(data, end, inner, inner_wire, depth + 1)
    else:
        check("a group ends that did not begin", wire != 4)
        end = at + (8 if wire == 1 else 4)
    check("a field is cut off", end <= len(data))
    return end, begin


def utf8(name, data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotVerified(f"{name} is not UTF-8") from None


def decode(kinds, data, into=None):
    """Protocol buffers: unknown fields are ignored, the last of several counts, and
    several parts of a message are merged."""
    message = into if into is not None else {}
    at = 0
    while at < len(data):
        number, wire, at = field_key(data, at)
        end, begin = skip(data, at, number, wire)
        name, kind = kinds.get(number, (None, None))
        repeated = isinstance(kind, list)
        kind = kind[0] if repeated else kind
        if kind is not None:
            has_length = isinstance(kind, dict) or kind in (BYTES, TEXT)
            check(f"{name} is of another type", wire == (2 if has_length else 0))
            if isinstance(kind, dict):
                value = decode(kind, data[begin:end], None if repeated else message.get(name))
            elif kind == TEXT:
                value = utf8(name, data[begin:end])
            else:
                value = data[begin:end] if kind == BYTES else varint(data, at)[0]
                value = value & 0xffffffff if kind in (U32, I32) else value
            if repeated:
                message.setdefault(name, []).append(value)
            else:
                message[name] = value
        at = end
    return message


def part(message, name):
    check(f"{name} is missing", name in message)
    return message[name]


def number(message, name):
    return message.get(name, 0)


def sized(message, name, size=32):
    value = message.get(name, b"")
    check(f"{name} has not {size} bytes", len(value) == size)
    return value
