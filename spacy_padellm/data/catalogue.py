"""The data sets the project knows. One more is one more entry in `sets`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet
from spacy_padellm.data.sets import chinese, crossner, english, mit, pile_ner, snips
from spacy_padellm.errors import Errors

_SETS = (snips, english, chinese, crossner, mit, pile_ner)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType({entry.name: entry for found in _SETS for entry in found.ENTRIES})


def data_set(name: str) -> DataSet:
    """The data set of that name.

    name (str): Its name in the catalogue.
    RETURNS (DataSet): The entry.
    RAISES (ValueError): P108 if there is none.
    """
    if name not in CATALOGUE:
        raise ValueError(Errors.P108.format(name=name, names=", ".join(CATALOGUE)))
    return CATALOGUE[name]
