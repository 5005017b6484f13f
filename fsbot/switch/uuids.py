"""A channel's UUID: whether it may stand in a command, and the file name that stands for it.

FreeSWITCH's own UUIDs are letters, digits and hyphens. A dialplan may choose others
(origination_uuid), and with the parameter inbound-use-callid-as-uuid of a Sofia profile a
telephone does: its Call-ID, say `a84b4c76e66710@pc33.example.com` (RFC 3261, section 25.1: letters,
digits and -.!%*_+`'~()<>:\\"/[]?{}@).
"""

import hashlib
import re

MOST_CHARACTERS = 256
"""FreeSWITCH cuts a longer one (SWITCH_UUID_FORMATTED_LENGTH)."""

# FreeSWITCH takes arguments apart at blanks and gives meaning to quotes and backslashes there
# (switch_separate_string in switch_utils.c); `^^X` at the beginning of a command's arguments makes
# X the separator. A `%` with two hexadecimal digits behind is not encoded in its events: what stood
# there cannot be told from what comes out (switch_url_encode_opt).
_UUID = re.compile(r"(?!\^\^|.*%[0-9A-Fa-f]{2})[!-&(-\[\]-~]{1,256}")

_MOST_STEM = 200
_MOST_OF_LONG = 160
_PLAIN = re.compile(r"[A-Za-z0-9-]")
_STEM = r"(?:[A-Za-z0-9-]|_[0-9A-F]{2})"
_WHOLE = re.compile(f"{_STEM}{{1,{_MOST_STEM}}}")
_LONG = re.compile(f"({_STEM}*)__[0-9a-f]{{32}}")

FILE_STEM = f"{_STEM}*(?:__[0-9a-f]{{32}})?"
"""A regular expression that matches every `file_stem`, and few other texts."""


class UnsafeUuid(ValueError):
    """A channel UUID, which a dialplan or a telephone may choose, that no command can hold."""


def check_uuid(uuid: str) -> str:
    """The UUID itself if it may stand in a command of the event socket.

    These are 1 to 256 printable ASCII characters but for blanks, `'`, the backslash, and `%` with
    two hexadecimal digits; it must not begin with `^^`. Raises UnsafeUuid.
    """
    if not _UUID.fullmatch(uuid):
        raise UnsafeUuid(f"a channel UUID that no command can hold: {uuid[:40]!r}")
    return uuid


def file_stem(uuid: str) -> str:
    """The UUID as the beginning of a file name: letters, digits and hyphens stay, another
    character is `_` and its code in hexadecimal (`@` is `_40`).

    No two UUIDs have the same. One that would become longer than 200 is cut at 160, with `__` and
    the first half of its SHA-256 behind. Raises UnsafeUuid.
    """
    check_uuid(uuid)
    parts = [each if _PLAIN.fullmatch(each) else f"_{ord(each):02X}" for each in uuid]
    stem = "".join(parts)
    if len(stem) <= _MOST_STEM:
        return stem
    while len("".join(parts)) > _MOST_OF_LONG:
        parts.pop()
    return f"{''.join(parts)}__{hashlib.sha256(uuid.encode()).hexdigest()[:32]}"


def uuid_of(stem: str) -> str | None:
    """The UUID of a `file_stem`; None if it was cut, or if no UUID has this one."""
    if not _WHOLE.fullmatch(stem):
        return None
    uuid = _decoded(stem)
    try:
        return uuid if file_stem(uuid) == stem else None
    except UnsafeUuid:
        return None


def stem_begins(stem: str, beginning: str) -> bool:
    """Whether the UUID of a `file_stem` begins so, or the stem itself does.

    Of a UUID that was cut only the beginning is known: a longer one that begins alike counts.
    """
    if stem.startswith(beginning):
        return True
    if (cut := _LONG.fullmatch(stem)) is not None:
        known = _decoded(cut[1])
        return known.startswith(beginning) or beginning.startswith(known)
    return (uuid_of(stem) or "").startswith(beginning)


def _decoded(stem: str) -> str:
    return re.sub("_([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), stem)
