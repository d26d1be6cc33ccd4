"""What decoding cost, and the log that tells it."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

LOGGER = logging.getLogger(__name__)


@dataclass
class Counters:
    """What decoding cost, in figures that do not depend on the machine.

    documents (int): Documents decoded.
    steps (int): Forward passes.
    document_steps (int): Steps each document took part in, summed over documents.
    pieces (int): Pieces fed to the model.
    answers (int): Answers given.
    answer_pieces (int): Pieces of those answers, ends excluded.
    drafts (int): Pieces fed as drafts.
    drafts_accepted (int): Those that were wanted.
    peak_kv_pieces (int): The most K/V places held at once, all slots together.
    """

    documents: int = 0
    steps: int = 0
    document_steps: int = 0
    pieces: int = 0
    answers: int = 0
    answer_pieces: int = 0
    drafts: int = 0
    drafts_accepted: int = 0
    peak_kv_pieces: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class StreamLog:
    """Tells the log what a stream of documents costs: each step at DEBUG, all of it at INFO, no word of any text.

    Whether anybody listens is looked up once, when the stream begins, so a silent log costs a step nothing.

    counters (Counters): What the stream adds to.
    """

    def __init__(self, counters: Counters) -> None:
        self._tells_steps = LOGGER.isEnabledFor(logging.DEBUG)
        self._tells_streams = LOGGER.isEnabledFor(logging.INFO)
        self._counters = counters
        self._before = counters.as_dict() if self._tells_streams else {}
        self._begun = self.now()
        self._peak = 0

    def now(self) -> float:
        """The time in seconds, 0 if nobody listens."""
        return time.perf_counter() if self._tells_streams else 0.0

    def step(self, pieces: int, documents: int, places: int, begun: float) -> None:
        """A step is done.

        pieces (int): Pieces fed.
        documents (int): Documents fed.
        places (int): K/V places held.
        begun (float): What `now` said before it.
        """
        self._peak = max(self._peak, places)
        if self._tells_steps:
            seconds = time.perf_counter() - begun
            LOGGER.debug("Step: %d pieces of %d documents, %.4f s", pieces, documents, seconds)

    def end(self) -> None:
        """The stream is done, or was left."""
        if not self._tells_streams:
            return
        seconds = self.now() - self._begun
        cost = {name: value - self._before[name] for name, value in self._counters.as_dict().items()}
        LOGGER.info(
            "Stream: %d documents, %d steps, %d pieces, %.2f s, %.1f documents a second, peak K/V %d places",
            cost["documents"],
            cost["steps"],
            cost["pieces"],
            seconds,
            cost["documents"] / seconds if seconds else 0.0,
            self._peak,
        )
