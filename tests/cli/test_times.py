"""
Time as people give it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from freezegun import freeze_time
from hypothesis import example, given
from hypothesis import strategies as st

from cli.parameters import Moment
from cli.times import parse_duration, parse_time

NOW = datetime(2026, 11, 22, 11, 8, 31, 500_000, UTC)
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Local time is an hour ahead of UTC in winter, two in summer.
    """
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert os.environ.get("TZ") != "Europe/Berlin"


def ms(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "wanted_ms"),
    [
        ("90", 90_000),
        ("0", 0),
        ("0.5", 500),
        ("250ms", 250),
        ("90s", 90_000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        (" 1.5D ", 129_600_000),
        ("2w", 14 * DAY_MS),
    ],
)
def test_a_duration_is_read_as_ms(text: str, wanted_ms: int) -> None:
    assert parse_duration(text) == wanted_ms


@pytest.mark.parametrize("text", ["", "h", "-1h", "1y", "1h!", "soon", "1h-2m", "٣h", "1" * 13])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 90s, 15m, 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "wanted_ms"),
    [
        ("now", ms(2026, 11, 22, 11, 8, 31) + 500),
        ("2h", ms(2026, 11, 22, 9, 8, 31) + 500),
        ("2h ago", ms(2026, 11, 22, 9, 8, 31) + 500),
        ("1h30m", ms(2026, 11, 22, 9, 38, 31) + 500),
        ("7d", ms(2026, 11, 15, 11, 8, 31) + 500),
        ("14:00", ms(2026, 11, 22, 13)),
        ("9:05", ms(2026, 11, 22, 8, 5)),
        ("today 14:00", ms(2026, 11, 22, 13)),
        ("yesterday", ms(2026, 11, 20, 23)),
        ("yesterday 22:00", ms(2026, 11, 21, 21)),
        ("Yesterday 22:00:30", ms(2026, 11, 21, 21, 0, 30)),
        ("2026-11-22T10:00Z", ms(2026, 11, 22, 10)),
        ("2026-11-22 10:00", ms(2026, 11, 22, 9)),
        ("2026-07-01T10:00", ms(2026, 7, 1, 8)),
        ("2026-11-22", ms(2026, 11, 21, 23)),
        ("2026-11-22T11:08:31.289137307Z", ms(2026, 11, 22, 11, 8, 31) + 289),
        ("1795345711", 1_795_345_711_000),
        ("1795345711.25", 1_795_345_711_250),
        ("1795345711289", 1_795_345_711_289),
    ],
)
def test_a_time_is_read_as_ms_since_the_epoch(text: str, wanted_ms: int) -> None:
    assert parse_time(text, now=NOW) == wanted_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026",
        "14",
        "25:00",
        "tomorrow",
        "yesterday 25:00",
        "2026-02-30",
        "-2h",
        "999999w",
        "0001-01-01",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 2h, 14:00"):
        parse_time(text, now=NOW)


def test_yesterday_is_a_day_of_the_calendar_also_when_the_clocks_change() -> None:
    after_change = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    assert parse_time("yesterday 12:00", now=after_change) == ms(2026, 10, 24, 10)
    assert parse_time("today 12:00", now=after_change) == ms(2026, 10, 25, 11)


def test_an_option_reads_the_clock_when_it_is_parsed() -> None:
    with freeze_time("2026-11-22T12:00:00Z") as frozen:
        first = Moment().convert("2h", None, None)
        frozen.tick(timedelta(minutes=5))
        assert Moment().convert("2h", None, None) == first + 300_000
    assert first == ms(2026, 11, 22, 10)


PIECES = st.sampled_from(
    [*"0123456789:.-+TZ wdhms", "ago", "today ", "yesterday ", "now", "ms", "9999", "0001", "00:00"]
)
MOMENTS = st.datetimes(
    timezones=st.none()
    | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
).map(datetime.isoformat)


@given(st.text(max_size=40) | st.lists(PIECES, max_size=12).map("".join) | MOMENTS)
@example("0001-01-01T00:00+14:00")
@example("today 00:00+23:59")
@example("999999999999w")
@example("\ud800")
def test_any_text_is_a_number_of_ms_or_refused(text: str) -> None:
    for parse in (parse_duration, lambda given: parse_time(given, now=NOW)):
        with suppress(ValueError):
            assert isinstance(parse(text), int)


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_iso_8601_is_read_to_the_ms(moment: datetime) -> None:
    milliseconds = parse_time(moment.isoformat(), now=NOW)
    assert abs(milliseconds / 1000 - moment.timestamp()) < 0.001
