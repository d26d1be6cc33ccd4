"""One line on a terminal that says how far a long run is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Entries done, how many a second, and the time that is left at that rate.

    total (int): Entries in all.
    begun (int): How many of them were done before this run.
    out (TextIO): Where the line is written.
    every (float): Seconds between two lines.
    clock (Callable[[], float]): Gives the time in seconds.
    """

    def __init__(
        self, total: int, begun: int, out: TextIO, *, every: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.begun = begun
        self.out = out
        self.every = every
        self.clock = clock
        self._start = self._shown = clock()
        self._width = 0

    def show(self, done: int, failed: int) -> None:
        """Write the line, unless the last one is too young."""
        now = self.clock()
        if now - self._shown >= self.every:
            self._shown = now
            self._write(self.line(done, failed))

    def end(self, done: int, failed: int) -> None:
        """Write the line a last time."""
        self._write(self.line(done, failed))
        self.out.write("\n")
        self.out.flush()

    def line(self, done: int, failed: int) -> str:
        passed = self.clock() - self._start
        rate = (done - self.begun) / passed if passed else 0.0
        left = clock_time((self.total - done) / rate) if rate else "?"
        errors = f", {failed:,} failed" if failed else ""
        return f"{done:,} of {self.total:,}{errors}, {rate:,.1f} a second, {left} left"

    def _write(self, line: str) -> None:
        self.out.write("\r" + line.ljust(self._width))
        self.out.flush()
        self._width = len(line)


def clock_time(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
