"""
Rates and charts, with a clock of the test's own.
"""

from __future__ import annotations

import pytest

from cli.rates import Counters, History, Meter, Rate, chart

WEB, LATE = ("app", "web"), ("app", "late")


def test_one_reading_tells_no_rate() -> None:
    meter = Meter(10)
    assert meter.rates() is None
    meter.add(100, "file", {WEB: Counters(500, 400)})
    assert meter.rates() is None


def test_a_rate_is_what_came_and_went_between_two_readings() -> None:
    meter = Meter(0)
    meter.add(100, "file", {WEB: Counters(500, 400)})
    meter.add(102, "file", {WEB: Counters(510, 400)})
    assert meter.rates() == {WEB: Rate(5, 0)}
    meter.add(106, "file", {WEB: Counters(510, 410)})
    assert meter.rates() == {WEB: Rate(0, 2.5)}, "only since the reading before"


def test_a_window_evens_out_what_leaves_in_leaps() -> None:
    meter = Meter(10)
    for at_s in range(31):
        meter.add(at_s, "file", {WEB: Counters(at_s * 7, at_s // 5 * 50)})
        if at_s >= 10:
            assert meter.rates() == {WEB: Rate(7, 10)}


def test_a_new_stream_began_with_nothing() -> None:
    meter = Meter(10)
    meter.add(100, "file", {WEB: Counters(500, 400)})
    meter.add(101, "file", {WEB: Counters(500, 400), LATE: Counters(30, 20)})
    assert meter.rates() == {WEB: Rate(0, 0), LATE: Rate(30, 20)}


def test_events_that_are_queued_again_are_no_negative_rate() -> None:
    meter = Meter(10)
    meter.add(100, "file", {WEB: Counters(500, 400)})
    meter.add(101, "file", {WEB: Counters(500, 100)})
    assert meter.rates() == {WEB: Rate(0, 0)}


@pytest.mark.parametrize(
    ("file", "counters"),
    [
        ("another", {WEB: Counters(900, 900)}),
        ("file", {WEB: Counters(499, 0)}),
        ("file", {LATE: Counters(900, 900)}),
    ],
    ids=["another file", "fewer events", "without the stream"],
)
def test_another_file_begins_anew(file: str, counters: dict[tuple[str, str], Counters]) -> None:
    meter = Meter(10)
    meter.add(100, "file", {WEB: Counters(500, 400)})
    meter.add(101, file, counters)
    assert meter.rates() is None


def test_a_cell_keeps_the_largest_value_of_its_time() -> None:
    history = History(5)
    for at_s, value in ((100, 3), (101, 9), (104, 1), (105, 2), (121, 4)):
        history.add(at_s, value)
    assert history.last(6) == [None, 9, 2, None, None, 4]
    assert history.last(2) == [None, 4]


def test_a_history_forgets_what_no_chart_shows() -> None:
    history = History(1)
    for at_s in range(1000):
        history.add(at_s, at_s)
    assert history.last(300).count(None) == 100


def test_before_the_first_value_a_chart_is_empty() -> None:
    assert chart(History(5).last(4)) == "    "


def test_a_chart_goes_from_nothing_to_the_largest_value() -> None:
    assert chart([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert chart([0, 0, 0]) == "▁▁▁"
    assert chart([None, 0.001, 1000]) == " ▂█", "little is not nothing"
    assert chart([1, 2], least=70) == "▂▂", "little is drawn as little"
