"""Times as people write them: the same instants in any form give the same order, and what cannot be read is counted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.readers import read
from prime_audit.lamp.times import oldest_first, read_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAYS = [datetime(2014, 5, 1, 9, 30, tzinfo=UTC) + timedelta(days=37 * n) for n in range(12)]


def seconds(moment: datetime) -> int:
    return int((moment - EPOCH).total_seconds())


FORMS: dict[str, Callable[[datetime], object]] = {
    "ISO": lambda d: d.date().isoformat(),
    "ISO time": lambda d: d.isoformat(),
    "unpadded": lambda d: f"{d.year}-{d.month}-{d.day}",
    "slashes, year first": lambda d: f"{d.year}/{d.month}/{d.day}",
    "day first": lambda d: f"{d.day}/{d.month}/{d.year}",
    "month first": lambda d: f"{d.month:02}/{d.day:02}/{d.year} {d:%H:%M}",
    "dots": lambda d: f"{d.day}.{d.month}.{d.year % 100:02}",
    "RFC 2822": format_datetime,
    "Twitter": lambda d: d.strftime("%a %b %d %H:%M:%S +0000 %Y"),
    "words": lambda d: d.strftime("%B %d, %Y"),
    "seconds": seconds,
    "seconds as text": lambda d: f"{seconds(d)}.0",
    "milliseconds": lambda d: seconds(d) * 1000,
    "microseconds": lambda d: Decimal(seconds(d) * 10**6),
    "yyyymmdd": lambda d: int(d.strftime("%Y%m%d")),
    "yyyymm": lambda d: d.strftime("%Y%m"),
    "offset": lambda d: (d + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S+05:00"),
    "date": lambda d: d.date(),
    "datetime": lambda d: d,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_sorts_as_the_instants_do(form: str) -> None:
    mixed = random.Random(form).sample(range(12), 12)
    times = read_times([FORMS[form](DAYS[n]) for n in mixed])
    assert (times.missing, times.unreadable, times.ambiguous, times.mixed_zones) == (0, 0, 0, False)
    assert [mixed[n] for n in oldest_first(times.keys)] == list(range(12))


def test_every_form_in_one_column() -> None:
    """Of a time of day only some forms know more than the day; 37 days are between any two."""
    forms = [form for form in FORMS.values() if form is not FORMS["month first"]]
    values = [forms[n % len(forms)](day) for n, day in enumerate(DAYS * 3)]
    keys = read_times(values).keys
    assert all(
        key is not None and abs(key - seconds(DAYS[n % 12])) < 32 * 86400 for n, key in enumerate(keys)
    )


@given(st.lists(st.datetimes(datetime(1973, 5, 1), datetime(2100, 1, 1)), min_size=1))
def test_against_the_standard_library(moments: list[datetime]) -> None:
    due = [(m.replace(tzinfo=UTC) - EPOCH).total_seconds() for m in moments]
    assert read_times([m.isoformat(" ") for m in moments]).keys == due
    assert read_times([f"{m.day}.{m.month}.{m.year} {m.time()}" for m in moments]).keys == due
    assert read_times(due).keys == due


@pytest.mark.parametrize(
    "years", [[2016, 2014, 2015], ["2016", "2014", "2015"], [2, 0, 1], [1999.5, -3, 7], [50, 1e5, 1e9]]
)
def test_numbers_alone_sort_as_numbers(years: list[Any]) -> None:
    found = [*oldest_first(read_times(years).keys)]
    assert found == sorted(range(len(years)), key=lambda n: float(years[n]))


def test_day_and_month() -> None:
    assert read_times(["1/2/2020", "13/2/2020"]).keys == read_times(["2020-02-01", "2020-02-13"]).keys
    assert read_times(["1/2/2020", "2/13/2020"]).keys == read_times(["2020-01-02", "2020-02-13"]).keys
    alone = read_times(["1/2/2020", "3/3/2020"])
    assert (alone.keys, alone.ambiguous) == (read_times(["2020-01-02", "2020-03-03"]).keys, 1)
    assert alone.orders == ("month/day/year", "day/month/year")
    assert read_times(["1.2.2020"]).orders[0] == "day/month/year"
    both = read_times(["1/2/2020", "2/13/2020", "13/2/2020"])
    assert (both.keys[0], both.unreadable) == (None, 1)


@pytest.mark.parametrize("mark", ["/", "-", "."])
def test_years_of_two_digits(mark: str) -> None:
    """The order of the whole column: without days that do not exist; of several, the one with dates close together."""

    def column(*days: str) -> Any:
        return read_times([day.replace("/", mark) for day in days])

    iso = read_times(["2019-11-20", "2020-01-09", "2020-02-28"]).keys
    for own in (
        column("19/11/20", "20/01/09", "20/02/28"),
        column("20/11/19", "09/01/20", "28/02/20"),
        column("11/20/19", "01/09/20", "02/28/20"),
    ):
        assert own.keys == iso
    assert column("11/20/19", "01/09/20", "02/28/20").ambiguous == 0
    either = column("19/11/20", "20/02/26")
    assert either.orders == ("year/month/day", "day/month/year")
    assert either.ambiguous == 2
    assert column("98/05/03", "12/05/31").keys == read_times(["1998-05-03", "2012-05-31"]).keys
    assert column("13/05/69", "13/05/70").keys == read_times(["2069-05-13", "1970-05-13"]).keys


@pytest.mark.parametrize(
    "value",
    [
        "Monday",
        "10:30",
        "yesterday",
        "2020-13-45",
        "31/02/2020",
        "2020-01-01 10:00 XYZ",
        True,
        [2020],
        {},
        "9" * 500,
        float("nan"),
        float("inf"),
        "٣٤٥",
        "\0",
        "2020-01-01T00:00:00+99:00",
        "0:33333333333333333333333333330",
    ],
)
def test_what_is_no_time(value: object) -> None:
    times = read_times(["2020-01-01", None, "", value])
    assert (times.missing, times.unreadable) == (2, 1)


@given(
    st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.dates().map(str), st.binary()))
)
def test_no_value_is_a_fault(values: list[object]) -> None:
    times = read_times(values)
    assert len(times.keys) == len(values) == len(oldest_first(times.keys))
    assert times.unreadable == sum(key is None for key in times.keys) - times.missing >= 0


def test_an_item_without_a_time_stays_behind_the_one_before_it() -> None:
    assert [*oldest_first([3, None, 1, 2])] == [2, 3, 0, 1]
    assert [*oldest_first([None, 2, 1])] == [2, 1, 0]
    assert [*oldest_first([1, 1, 1])] == [0, 1, 2]
    assert [*oldest_first([2, 2, 1])] == [2, 1, 0]  # newest first, within a day too


def texts(data: Dataset, field: str = "text") -> dict[str, list[str]]:
    users = (*data.adapt, *data.targets, *data.candidates)
    return {
        u.id: [*(i.fields[field] for i in u.history), *(q.fields[field] for q in u.queries)] for u in users
    }


@pytest.mark.parametrize("form", ["unpadded", "RFC 2822", "milliseconds"])
def test_newest_first_items_come_out_oldest_first(layouts, tmp_path: Path, form: str) -> None:
    rows = [{**row, "time": FORMS[form](DAYS[row["time"]])} for row in layouts.rows("LaMP-4")]
    old = read(layouts.write_rows(tmp_path / "a.jsonl", rows), "LaMP-4")
    new = read(layouts.write_rows(tmp_path / "a.jsonl", rows[::-1]), "LaMP-4")
    assert texts(old) == texts(new) == {f"u{u}": [f"text {n} of {u}" for n in range(6)] for u in range(8)}
    assert old.notes == ()
    assert new.notes == (
        "a.jsonl: the rows of 8 of 8 users are not in the order of time; they are sorted by it, oldest first",
    )
    assert new.defects == ()


def test_times_that_cannot_be_read_are_counted(layouts, tmp_path: Path) -> None:
    rows: list[Any] = [{**row, "when": f"2020-01-{31 - row['time']}"} for row in layouts.rows("LaMP-4")]
    for row in rows:
        del row["time"]
    path = layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows)
    assert texts(read(path))["u0"][0] == "text 0 of 0"
    assert texts(read(path, time_column="when"))["u0"][0] == "text 5 of 0"
    rows[8]["when"] = "soon"
    data = read(layouts.write_rows(path, rows), columns="time=when")
    assert [str(d) for d in data.defects] == [
        "a.LaMP-4.jsonl: 1 of 48 items have no when that can be read (the first is 'soon'); each keeps its place "
        "behind the item before it (kept)"
    ]
    with pytest.raises(UserError, match="1 of 48 items have no when"):
        read(path, columns="time=when", strict=True)
    with pytest.raises(UserError, match="no column then"):
        read(path, time_column="then")
    with pytest.raises(UserError, match="--columns names when for time; leave one of the two out"):
        read(path, columns="time=when", time_column="then")
    rows[8]["when"], rows[9]["when"] = "1/2/2020", "2020-01-01T00:00+01:00"
    notes = read(layouts.write_rows(path, rows), time_column="when").notes
    assert [note.partition(": ")[2][:40] for note in notes] == [
        "1 of 48 dates of when may be day/month/y",
        "some values of when have a time zone; th",
        "the rows of 8 of 8 users are not in the ",
    ]


@pytest.mark.parametrize("form", ["unpadded", "Twitter", "seconds", "yyyymmdd"])
def test_official_dates_are_parsed(layouts, tmp_path: Path, form: str) -> None:
    files = layouts.official("LaMP-4", 8)
    for record in files["dev_questions.json"]:
        for n, item in enumerate(record["profile"]):
            item["date"] = FORMS[form](DAYS[11 - 4 * n])
    data = read(layouts.write(tmp_path, files))
    assert data.defects == data.notes == ()
    users = (*data.adapt, *data.targets, *data.candidates)
    assert {u.id: [i.id for i in u.history] for u in users}["3"] == ["3-2", "3-1", "3-0"]
    del files["dev_questions.json"][3]["profile"][1]["date"]
    data = read(layouts.write(tmp_path, files))
    assert "1 of 24 items have no date that can be read (the first is empty)" in str(*data.defects)


def test_dates_of_parquet(layouts, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**row, "time": DAYS[5 - row["time"]]} for row in layouts.rows("LaMP-4")]
    for kind in (pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.date32()):
        table = pa.Table.from_pylist(rows)
        place = table.schema.get_field_index("time")
        naive = pa.array([row["time"].replace(tzinfo=None) for row in rows]).cast(kind)
        pq.write_table(table.set_column(place, "time", naive), tmp_path / "a.LaMP-4.parquet")
        assert texts(read(tmp_path / "a.LaMP-4.parquet"))["u0"][0] == "text 5 of 0"


def test_json_and_dates_of_a_list(layouts, tmp_path: Path) -> None:
    rows = [{**row, "time": date(2020, 1, 31 - row["time"]).isoformat()} for row in layouts.rows("LaMP-4")]
    (tmp_path / "a.LaMP-4.json").write_text(json.dumps({"data": rows}))
    assert texts(read(tmp_path))["u0"][0] == "text 5 of 0"


@pytest.mark.parametrize("empty", [None, "", " "])
def test_a_column_without_any_time_is_reported(layouts, tmp_path: Path, empty: object) -> None:
    rows: list[Any] = [{**row, "when": empty} for row in layouts.rows("LaMP-4")]
    data = read(layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows), time_column="when")
    assert "48 of 48 items have no when that can be read (the first is empty)" in str(*data.defects)


@pytest.mark.parametrize("field", ["date", "time"])
def test_profiles_of_per_pcs_and_oppu_are_sorted(layouts, tmp_path: Path, field: str) -> None:
    for files, name in (
        (layouts.perpcs("LaMP-4"), "user_anchor_candidate.json"),
        (layouts.oppu("LaMP-4"), "user_others.json"),
    ):
        before = [[item["id"] for item in user["profile"]] for user in files[name]]
        for user in files[name]:
            for n, item in enumerate(user["profile"]):
                item[field] = f"2020-01-0{9 - n}"
        data = read(layouts.write(tmp_path / name, files), "LaMP-4")
        after = [[item.id for item in user.history] for user in (*data.adapt, *data.candidates)]
        assert all(own[::-1] in after for own in before)
        many = len(before)
        assert f"{name}: the rows of {many} of {many} users are not in the order of {field}" in data.notes[0]
