"""Times as people write them, and histories in their order, oldest first.

A column is read as a whole, because one value alone is ambiguous: ``03/04/2020`` is in April where another value of the
column is ``25/04/2020``. Standard forms are read by the standard library, the others by dateutil.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})(?:\2(\d{1,2}))?(?![\d/.-])(.*)", re.ASCII | re.DOTALL)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d)(.*)", re.ASCII | re.DOTALL)
_DIGITS = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)(\d\d))?)?)?", re.ASCII)
_LEAST = (1, 1, 1, 0, 0, 0)
_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3), (10**8, 1))
"""Size of a number → how many of its unit are a second. From 1973 on, the four units of epochs do not overlap."""
_LONGEST = 100
"""Characters of a time; longer text is none."""

Key: TypeAlias = int | float
_Moment: TypeAlias = tuple[Key, bool]
"""Seconds since 1970, and whether a zone was there."""


@dataclass(frozen=True)
class _DayOrMonth:
    """A date whose order of day and month another value of its column may decide."""

    first: int
    second: int
    mark: str
    year: str
    rest: str

    def moment(self, day_first: bool) -> _Moment | None:
        day, month = (self.first, self.second) if day_first else (self.second, self.first)
        year = self.year if len(self.year) == 4 else ("20" if int(self.year) < 70 else "19") + self.year
        return _read(f"{year}-{month:02}-{day:02}{self.rest}")


@dataclass(frozen=True, kw_only=True)
class Times:
    """A column of times, read."""

    keys: list[Key | None]
    """What sorts the values; None for a missing or unreadable one."""
    missing: int
    unreadable: int
    ambiguous: int
    """Dates in whose column nothing shows whether the day or the month is first."""
    day_first: bool
    """How those were read."""
    mixed_zones: bool
    """Whether some values have a zone and others do not; those without count as UTC."""


def read_times(values: Sequence[object]) -> Times:
    """Read a column of times.

    Dates and times as text (ISO 8601, RFC 2822, with month names, or numbers with ``-``, ``/`` or ``.``), datetimes,
    and numbers: years, yyyymm, yyyymmdd, yyyymmddHHMMSS, or seconds, milli-, micro- or nanoseconds since 1970. Where
    a column has other numbers and no dates, the numbers themselves are the order.
    """
    found = [_parse(value) for value in values]
    dates = [one for one in found if isinstance(one, _DayOrMonth)]
    day_first = _day_first(dates)
    numbers = [one for one in found if isinstance(one, int | float)]
    plain = len(numbers) == sum(one is not None for one in found) and any(_dated(n) is None for n in numbers)
    keys: list[Key | None] = []
    zones: set[bool] = set()
    for one in found:
        if one is None:
            keys.append(None)
        elif isinstance(one, int | float):
            keys.append(one if plain else _dated(one))
        else:
            if isinstance(one, _DayOrMonth):
                known = _own_order(one)
                order = day_first if known is None else known
                # Both orders occur: which one the ambiguous dates follow cannot be known.
                moment = None if order is None else one.moment(order)
            else:
                moment = one
            keys.append(moment and moment[0])
            if moment:
                zones.add(moment[1])
    missing = sum(value is None or (isinstance(value, str) and not value.strip()) for value in values)
    decided = day_first is None or any(_own_order(one) is not None for one in dates)
    return Times(
        keys=keys,
        missing=missing,
        unreadable=keys.count(None) - missing,
        ambiguous=0 if decided else sum(one.first != one.second for one in dates),
        day_first=bool(day_first),
        mixed_zones=len(zones) > 1,
    )


def oldest_first(keys: Sequence[Key | None]) -> Sequence[int]:
    """Return the positions of one person's items in the order of their times.

    An item without a time is placed behind the item before it in the file. Items of the same time keep their order in
    the file, or the reverse where the times only fall: such a file is newest first.
    """
    known = [key for key in keys if key is not None]
    if not known:
        return range(len(keys))
    filled, last = list[Key](), known[0]
    for key in keys:
        last = last if key is None else key
        filled.append(last)
    falling = filled[0] > filled[-1] and all(a >= b for a, b in pairwise(filled))
    places = range(len(keys))
    return sorted(reversed(places) if falling else places, key=filled.__getitem__)


def in_order(keys: Sequence[Key | None]) -> bool:
    """Return whether the times never fall."""
    known = [key for key in keys if key is not None]
    return all(a <= b for a, b in pairwise(known))


def _parse(value: object) -> Key | _Moment | _DayOrMonth | None:
    if isinstance(value, str):
        text = value.strip()
        return _parse_text(text) if 0 < len(text) <= _LONGEST else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if abs(value) < 1e300 else None  # False for NaN, too
    if isinstance(value, Decimal):
        return _number(str(value)) if value.is_finite() else None
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date):
        return _moment(datetime(value.year, value.month, value.day))
    return None


@lru_cache(1 << 16)
def _parse_text(text: str) -> Key | _Moment | _DayOrMonth | None:
    if text[4:5] == "-":
        with suppress(ValueError):
            return _moment(datetime.fromisoformat(text))
    if _NUMBER.fullmatch(text):
        return _number(text)
    if found := _YEAR_LAST.fullmatch(text):
        first, mark, second, year, rest = found.groups()
        return _DayOrMonth(int(first), int(second), mark, year, rest)
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, rest = found.groups()
        return _read(f"{year}-{int(month):02}-{int(day or 1):02}{rest}")
    return _read(text)


def _number(text: str) -> Key | None:
    """Read a number exactly where it is whole."""
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)


def _read(text: str) -> _Moment | None:
    """Read a time whose order of day and month is clear."""
    for form in (datetime.fromisoformat, parsedate_to_datetime, _by_dateutil):
        try:
            found = form(text)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
        return _moment(found) if found else None
    return None


def _by_dateutil(text: str) -> datetime | None:
    from dateutil import parser

    with warnings.catch_warnings():
        # A zone that it does not know, such as XYZ, would be dropped with a warning.
        warnings.simplefilter("error", parser.UnknownTimezoneWarning)
        try:
            found = parser.parse(text, default=datetime(1, 1, 1))
        except parser.UnknownTimezoneWarning:
            return None
    return found if found.year >= 1000 else None  # no year, such as "10:30" or "Monday"


def _moment(value: datetime) -> _Moment | None:
    aware = value.tzinfo is not None
    try:
        return ((value if aware else value.replace(tzinfo=UTC)) - _EPOCH).total_seconds(), aware
    except (OverflowError, ValueError):  # an offset as long as a day
        return None


def _dated(number: Key) -> Key | None:
    """Return the seconds since 1970 of a number that is a time; None for another."""
    if found := _DIGITS.fullmatch(str(int(number))) if number == int(number) else None:
        parts = zip(found.groups(), _LEAST, strict=True)
        year, month, day, hour, minute, second = (int(part or least) for part, least in parts)
        if 1000 <= year < (3000 if len(found[0]) == 4 else 2200):
            try:
                return (datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH).total_seconds()
            except ValueError:  # no date, such as month 13
                pass
    return next((number / unit for least, unit in _UNITS if abs(number) >= least), None)


def _own_order(date: _DayOrMonth) -> bool | None:
    """Return whether a date's day is first, as it shows itself; None where it does not."""
    return None if max(date.first, date.second) <= 12 else date.first > 12


def _day_first(dates: Sequence[_DayOrMonth]) -> bool | None:
    """Return whether a column's days are first; None where its dates contradict each other."""
    shown = set(_orders(dates))
    if len(shown) == 2:
        return None
    if shown:
        return shown.pop()
    return bool(dates) and all(date.mark == "." for date in dates)  # dots are European


def _orders(dates: Sequence[_DayOrMonth]) -> Iterator[bool]:
    for one in dates:
        if (order := _own_order(one)) is not None:
            yield order
