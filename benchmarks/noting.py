"""A component that notes when a document has passed it, and one that waits; workers get them by `--code`."""

import os
import time

from spacy.language import Language
from spacy.tokens import Doc

NOTES = "PADELLM_BENCHMARK_NOTES"
"""Name of the variable with the folder that notes go to, a file a process."""


@Language.component("benchmark_note")
def note(doc: Doc) -> Doc:
    with open(os.path.join(os.environ[NOTES], str(os.getpid())), "a", encoding="ascii") as file:
        file.write(f"{time.time()} {time.process_time()}\n")
    return doc


@Language.factory("benchmark_wait", default_config={"seconds": 0.005})
def make_wait(nlp: Language, name: str, seconds: float) -> "Wait":
    return Wait(seconds)


class Wait:
    """Takes a document so long as if something else than this machine's cores worked on it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, doc: Doc) -> Doc:
        time.sleep(self.seconds)
        return doc
