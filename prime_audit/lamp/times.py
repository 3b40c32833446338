"""Times as people write them, and histories in their order, oldest first.

A column is read as a whole, because one value alone is ambiguous: ``03/04/2020`` is in April where another value of the
column is ``25/04/2020``. Standard forms are read by the standard library, the others by dateutil.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
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


_DAY, _MONTH, _YEAR = "day/month/year", "month/day/year", "year/month/day"


@dataclass(frozen=True)
class _Parts:
    """A date in three numbers, whose order only its column may decide."""

    numbers: tuple[str, str, str]
    mark: str
    rest: str

    def date(self, order: str) -> date | None:
        """Return the day in this order; None where there is none. Years 70 to 99 are 19…, those below 20…."""
        parts = dict(zip(order.split("/"), self.numbers, strict=True))
        year = parts["year"]
        if len(year) == 2:
            year = ("20" if year < "70" else "19") + year
        try:
            return date(int(year), int(parts["month"]), int(parts["day"])) if len(year) == 4 else None
        except ValueError:
            return None

    def moment(self, order: str) -> _Moment | None:
        day = self.date(order)
        return _read(f"{day.isoformat()}{self.rest}") if day else None

    def own_order(self) -> str | None:
        """Return the order that the date itself shows with its year last; None where it shows none."""
        day, month = int(self.numbers[0]), int(self.numbers[1])
        return None if max(day, month) <= 12 else _DAY if day > 12 else _MONTH


@dataclass(frozen=True, kw_only=True)
class Times:
    """A column of times, read."""

    keys: list[Key | None]
    """What sorts the values; None for a missing or unreadable one."""
    missing: int
    unreadable: int
    ambiguous: int
    """Dates that nothing in the column decides: each of ``orders`` gives another day."""
    orders: tuple[str, ...]
    """The orders of day, month and year that the column leaves possible; dates are read in the first."""
    mixed_zones: bool
    """Whether some values have a zone and others do not; those without count as UTC."""


def read_times(values: Sequence[object]) -> Times:
    """Read a column of times.

    Dates and times as text (ISO 8601, RFC 2822, with month names, or numbers with ``-``, ``/`` or ``.``), datetimes,
    and numbers: years, yyyymm, yyyymmdd, yyyymmddHHMMSS, or seconds, milli-, micro- or nanoseconds since 1970. Where
    a column has other numbers and no dates, the numbers themselves are the order.
    """
    found = [_parse(value) for value in values]
    dates = [one for one in found if isinstance(one, _Parts)]
    orders = _orders(dates)
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
            if isinstance(one, _Parts):
                # Both orders occur: which one the other dates follow cannot be known.
                order = orders[0] if orders else one.own_order()
                moment = one.moment(order) if order else None
            else:
                moment = one
            keys.append(moment and moment[0])
            if moment:
                zones.add(moment[1])
    missing = sum(value is None or (isinstance(value, str) and not value.strip()) for value in values)
    return Times(
        keys=keys,
        missing=missing,
        unreadable=keys.count(None) - missing,
        ambiguous=sum(len({one.date(order) for order in orders}) > 1 for one in dates) if orders[1:] else 0,
        orders=orders,
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


def _parse(value: object) -> Key | _Moment | _Parts | None:
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
def _parse_text(text: str) -> Key | _Moment | _Parts | None:
    if text[4:5] == "-":
        with suppress(ValueError):
            return _moment(datetime.fromisoformat(text))
    if _NUMBER.fullmatch(text):
        return _number(text)
    if found := _YEAR_LAST.fullmatch(text):
        first, mark, second, third, rest = found.groups()
        return _Parts((first, second, third), mark, rest)
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
        except (ValueError, ArithmeticError, TypeError, IndexError):  # dateutil lets decimal's through
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


def _orders(dates: Sequence[_Parts]) -> tuple[str, ...]:
    """Return the possible orders of a column's dates, the one to read first; none where dates contradict each other.

    Possible are those that give the fewest days that do not exist. The year is first where that gives dates closer
    together: a day read as a year scatters dates over three decades. Today's date must not decide, or a file would be
    read in another way next year.
    """
    if not dates:
        return ()
    different = {one.numbers: one for one in dates}.values()
    shown = {order for one in different if (order := one.own_order())}
    if len(shown) == 2:
        return ()
    european = all(one.mark == "." for one in dates)
    orders = [*shown] or ([_DAY, _MONTH] if european else [_MONTH, _DAY])
    if all(len(one.numbers[0]) == len(one.numbers[2]) == 2 for one in different):
        orders.append(_YEAR)
    read = {order: [one.date(order) for one in different] for order in orders}
    possible = [o for o in orders if read[o].count(None) == min(own.count(None) for own in read.values())]

    def span(order: str) -> int:
        days = [day.toordinal() for day in read[order] if day]
        return max(days, default=0) - min(days, default=0)

    if possible[-1] == _YEAR and all(span(_YEAR) < span(order) for order in possible[:-1]):
        possible.insert(0, possible.pop())
    return tuple(possible)
