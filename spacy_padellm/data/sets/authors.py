"""The files that PaDeLLM-NER's authors published with their code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spacy_padellm.data.data_set import Part, PublishedFile

_URL = "https://raw.githubusercontent.com/GeorgeLuImmortal/PaDeLLM_NER/665645057cac9815b61ade36e7805f08b9fa68da"
NO_LICENCE = "the authors' repository states no licence"


def authors_files(name: str, md5: Mapping[Part, str | None]) -> Mapping[Part, tuple[PublishedFile, ...]]:
    """The authors' files of one data set.

    name (str): What they call it.
    md5 (Mapping[Part, str | None]): The checksum of each part's file, None where it is not known.
    """
    files: dict[Part, tuple[PublishedFile, ...]] = {}
    for part, checksum in md5.items():
        file = f"{name}_{part}.json"
        files[part] = (PublishedFile(path=f"{name}/{file}", url=f"{_URL}/ner_data/{name}/{file}", md5=checksum),)
    return MappingProxyType(files)
