"""The data sets the project knows. One more is one more entry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from spacy_padellm.data.converters import reader_for
from spacy_padellm.data.records import OnError, Record, stop
from spacy_padellm.data.splits import take_dev
from spacy_padellm.errors import Errors

Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published.

    path (str): Below the folder of assets.
    url (str): Where it was published, at one commit.
    md5 (str): Its checksum, in the form that `spacy project assets` compares.
    """

    path: str
    url: str
    md5: str


@dataclass(frozen=True)
class DataSet:
    """A data set: where it comes from, how it is read and what its labels are called in a prompt.

    name (str): What the project calls it.
    title (str): What a reader calls it.
    lang (str): Language code of the tokenizer.
    format (str): The reader of its files.
    files (Mapping[Part, tuple[PublishedFile, ...]]): The files of each part that was published.
    labels (Mapping[str, str]): Each label's words in the prompt, in the order they are asked.
    licence, citation (str): How it may be used, and what to cite.
    shipped (bool): Whether the files come with the project.
    dev_size (int): How many texts of train become the dev part; 0 where dev was published.
    """

    name: str
    title: str
    lang: str
    format: str
    files: Mapping[Part, tuple[PublishedFile, ...]]
    labels: Mapping[str, str]
    licence: str
    citation: str
    shipped: bool = False
    dev_size: int = 0

    def read(self, assets: Path, on_error: OnError = stop) -> dict[Part, list[Record]]:
        """Read all parts.

        assets (Path): The folder of assets.
        on_error (OnError): What becomes of broken records.
        RETURNS (dict[Part, list[Record]]): The records of train, dev and test.
        RAISES (ValueError): P112 if a file is not the published one, P111 if train is too small to take dev from it.
        """
        reader = reader_for(self.format)
        parts: dict[Part, list[Record]] = {part: [] for part in PARTS}
        for part, files in self.files.items():
            for file in files:
                path = assets / file.path
                verify(path, file.md5)
                parts[part] += reader(path, on_error)
        if self.dev_size:
            parts["train"], parts["dev"] = take_dev(parts["train"], self.dev_size, name=self.name)
        return parts


def verify(path: Path, md5: str) -> None:
    """RAISES (ValueError): P112 if the file's MD5 is another."""
    got = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if got != md5:
        raise ValueError(Errors.P112.format(path=path, got=got, expected=md5))


_SNIPS_URL = "https://raw.githubusercontent.com/sonos/nlu-benchmark/b86ac7f1577868c42158d0dec77db50956046696"
_SNIPS_CITATION = (
    "Coucke A. et al., Snips Voice Platform: an embedded Spoken Language Understanding system for private-by-design "
    "voice interfaces, 2018, https://arxiv.org/abs/1805.10190"
)


def _snips(name: str, intent: str, labels: dict[str, str], md5: dict[Part, str]) -> DataSet:
    names: dict[Part, str] = {"train": f"train_{intent}_full.json", "test": f"validate_{intent}.json"}
    files: dict[Part, tuple[PublishedFile, ...]] = {
        part: (
            PublishedFile(
                path=f"snips/{intent}/{file}",
                url=f"{_SNIPS_URL}/2017-06-custom-intent-engines/{intent}/{file}",
                md5=md5[part],
            ),
        )
        for part, file in names.items()
    }
    return DataSet(
        name=name,
        title=f"SNIPS {intent}",
        lang="en",
        format="snips",
        files=MappingProxyType(files),
        labels=MappingProxyType(labels),
        licence="CC0-1.0",
        citation=_SNIPS_CITATION,
        shipped=True,
        dev_size=100,
    )


_ENTRIES = (
    _snips(
        "snips_screening",
        "SearchScreeningEvent",
        {
            "location_name": "location name",
            "movie_name": "movie name",
            "movie_type": "movie type",
            "object_location_type": "object location type",
            "object_type": "object type",
            "spatial_relation": "spatial relation",
            "timeRange": "time range",
        },
        {"train": "ce504fd6fd146d2ceddef90b18cda98c", "test": "8fa67041822d303dbe5e79407515be87"},
    ),
    _snips(
        "snips_weather",
        "GetWeather",
        {
            "city": "city",
            "condition_description": "condition description",
            "condition_temperature": "condition temperature",
            "country": "country",
            "current_location": "current location",
            "geographic_poi": "geographic point of interest",
            "spatial_relation": "spatial relation",
            "state": "state",
            "timeRange": "time range",
        },
        {"train": "7153b2ca3549fd5a7e634d442ab26e05", "test": "36c9dcdad83a16b388db45f2e7cc3d97"},
    ),
)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def data_set(name: str) -> DataSet:
    """The data set of that name.

    name (str): Its name in the catalogue.
    RETURNS (DataSet): The entry.
    RAISES (ValueError): P108 if there is none.
    """
    if name not in CATALOGUE:
        raise ValueError(Errors.P108.format(name=name, names=", ".join(CATALOGUE)))
    return CATALOGUE[name]
