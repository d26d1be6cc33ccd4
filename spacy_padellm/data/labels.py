"""The labels a pipe is initialised with, from a file."""

from pathlib import Path
from typing import Any

import srsly

from spacy_padellm.errors import Errors


def read_labels_v1(*, path: Path | None = None) -> Any:
    """Read labels for `[initialize.components.padellm_ner.labels]`: a JSON list of names, as `spacy init labels` writes
    it, or an object of names with their words in the prompt or with all that is said about them (`docs/labels.md`).

    path (Path | None): The file; None to take the labels of the training examples.
    RETURNS (Any): What the file holds, None without one.
    RAISES (ValueError): P116 if there is no such file, it cannot be opened or it is not JSON.
    """
    if path is None:
        return None
    try:
        return srsly.read_json(path)
    except (ValueError, OSError) as error:
        raise ValueError(Errors.P116.format(path=path, problem=error)) from error
