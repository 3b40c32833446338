"""Mutations of valid files: of bytes, of a format's words, and of JSON values."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

PART = b"\n%%%%\n"
"""Stands between the files of an input that is several."""
MOST = 1 << 16
"""Bytes of an input, at most."""
DEEP: Any = [0]
for _ in range(60):
    DEEP = [DEEP]
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, 10**400),
    *("", " ", "x", "\x00", "\ud800", "a\nb", "\x1b[2J\x1b]0;x\x07", "\u202ex", "\u2028", "=cmd|' /C x'!A0"),
    *(
        "../../x",
        "/etc/passwd",
        "<script>alert(1)</script>",
        "NaN",
        "1e400",
        "²",
        "`",
        "|",
        "$\\frac{$",
        "😀",
    ),
    *("y" * 10_240, [], [[]], [1, "a"], {}, {"id": 1}, {"": {}}, DEEP),
)
WORDS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"1e400",
        b"-1",
        b"\\ud800",
    ),
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x1b[31m",
        b"9" * 5000,
        b"[" * 3000,
    ),
    *(b'{"id": 1, "id": 2}', b"=1+1", b"\\", b"/../", b"\xe2\x80\xae", b"0" * 20, b"\x7f\xff\xff\xff"),
)


def mutate(data: bytes, rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Change an input in one place or a few."""
    for _ in range(1 + min(int(rng.expovariate(1.2)), 5)):
        if rng.random() < 0.7 and (changed := change_json(data, rng)) is not None:
            data = changed
        else:
            data = rng.choice(BYTES)(data, rng, corpus, words)
    return data[:MOST]


Way = Callable[[bytes, random.Random, Sequence[bytes], Sequence[bytes]], bytes]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + 1 + int(rng.expovariate(0.1)))


def _flip(data: bytes, rng: random.Random, *_: Any) -> bytes:
    if not data:
        return b"\x00"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _delete(data: bytes, rng: random.Random, *_: Any) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: random.Random, *_: Any) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def _cut(data: bytes, rng: random.Random, *_: Any) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _noise(data: bytes, rng: random.Random, *_: Any) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _word(data: bytes, rng: random.Random, _: Any, words: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.choice([*WORDS, *words]) + data[rng.choice((start, end)) :]


def _splice(data: bytes, rng: random.Random, corpus: Sequence[bytes], _: Any) -> bytes:
    other = rng.choice(corpus)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


BYTES: tuple[Way, ...] = (_flip, _flip, _delete, _repeat, _cut, _noise, _word, _word, _splice)


# -- JSON --------------------------------------------------------------------------------------------------


def change_json(data: bytes, rng: random.Random) -> bytes | None:
    """Change one value of a JSON document, or of a line of JSONL, among the parts; None where there is none."""
    parts = data.split(PART)
    at = rng.randrange(len(parts))
    changed = _changed(parts[at], rng)
    if changed is None:
        lines = parts[at].split(b"\n")
        line = rng.randrange(len(lines))
        if (other := _changed(lines[line], rng)) is None:
            return None
        lines[line] = other
        changed = b"\n".join(lines)
    parts[at] = changed
    return PART.join(parts)


def _changed(text: bytes, rng: random.Random) -> bytes | None:
    try:
        value = json.loads(text)
        if not isinstance(value, dict | list):
            return None
        all_ = list(places(value))
        place = rng.choice(all_)
        written = json.dumps(
            put(value, place, _new(value, place, all_, rng)), ensure_ascii=rng.random() < 0.5
        )
    except (ValueError, RecursionError):
        return None
    if rng.random() < 0.1:  # a key twice
        written = written.replace(": ", ': 1, "id": ', 1)
    return written.encode("utf-8", "surrogatepass")


def _new(value: Any, place: tuple[Any, ...], all_: Sequence[tuple[Any, ...]], rng: random.Random) -> Any:
    """Return junk, another value of the document, or several of it; text and numbers often stay what they are."""
    if rng.random() < 0.6:
        own = get(value, place)
        alike = [junk for junk in JUNK if type(junk) is type(own)]
        return rng.choice(alike if alike and rng.random() < 0.6 else JUNK)
    other = get(value, rng.choice(all_))
    return [other] * 3 if rng.random() < 0.2 else other


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside a JSON value."""
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def get(value: Any, place: tuple[Any, ...]) -> Any:
    """Return the value at a place."""
    for key in place:
        value = value[key]
    return value


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return the value with another one at a place; a key named ``""`` by junk is dropped."""
    if not place:
        return new
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = put(value[place[0]], place[1:], new)
    if len(place) == 1 and new == "":
        del copied[place[0]]
    return copied
