"""What a pipeline of the tests needs beside spaCy: workers get it by `--code`."""

import os
import time
from pathlib import Path

from spacy.language import Language


@Language.component("test_crash_or_sleep")
def crash_or_sleep(doc):
    """Texts with "crash" fail; those with "slow" take time, and which process has them is noted in a folder."""
    if "crash" in doc.text:
        raise ValueError("[P023] too long" if "coded" in doc.text else "no")
    if "slow" in doc.text:
        (Path(os.environ["TEST_NOTES"]) / f"{doc.text.split()[-1]}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(0.02)
    return doc
