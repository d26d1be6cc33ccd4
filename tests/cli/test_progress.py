"""The line that says how far a run is."""

from __future__ import annotations

import io

import pytest

from spacy_padellm.cli.progress import Progress, clock_time


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_are_of_this_run():
    clock, out = Clock(), io.StringIO()
    progress = Progress(10_000, 1_000, out, clock=clock)
    progress.show(1_100, 0)
    assert out.getvalue() == ""
    clock.now += 10
    progress.show(2_000, 3)
    assert out.getvalue() == "\r2,000 of 10,000, 3 failed, 100.0 a second, 1:20 left"
    clock.now += 0.4
    progress.show(2_100, 3)
    clock.now += 89.6
    progress.show(10_000, 0)
    progress.end(10_000, 0)
    lines = out.getvalue().split("\r")
    assert len(lines) == 4
    # What the longer line left behind is written over.
    assert lines[2].rstrip() == "10,000 of 10,000, 90.0 a second, 0:00 left" and len(lines[2]) == len(lines[1])
    assert lines[3].endswith("left\n")


def test_nothing_done_yet():
    assert Progress(5, 5, io.StringIO(), clock=Clock()).line(5, 0) == "5 of 5, 0.0 a second, ? left"


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0:00"), (59.6, "1:00"), (3_661, "1:01:01"), (90_000, "25:00:00")])
def test_clock_time(seconds: float, said: str):
    assert clock_time(seconds) == said
