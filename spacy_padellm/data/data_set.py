"""A data set: where it comes from, how it is read and what its labels are called in a prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
    url (str | None): Where it was published, at one commit; None where it can only be asked for.
    md5 (str | None): Its checksum, in the form that `spacy project assets` compares; None where nobody has computed
        it from the published file: such a file is read as it is.
    """

    path: str
    url: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class DataSet:
    """An entry of the catalogue.

    name (str): What the project calls it.
    title (str): What a reader calls it.
    lang (str): Language code of the tokenizer.
    format (str): The reader of its files.
    files (Mapping[Part, tuple[PublishedFile, ...]]): The files of each part that was published.
    labels (Mapping[str, str]): Each label's words in the prompt, in the order they are asked; empty where the labels
        are words themselves, too many to list.
    licence, citation (str): How it may be used, and what to cite.
    split (str): The parts as they were published, in texts, and what was made of them.
    obtain (str): How to get what has no URL; "" where everything has one.
    nested (bool): Whether mentions may overlap.
    published (Mapping[str, float]): Figures of PaDeLLM-NER's paper, as far as their source was at hand. `string_f` is F
        on the test part with a 7B model: micro, over the distinct strings of each text and label. `length_padellm` and
        so on are the pieces that the schemes generate for a sequence.
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
    split: str
    obtain: str = ""
    nested: bool = False
    published: Mapping[str, float] = field(default_factory=dict)
    shipped: bool = False
    dev_size: int = 0

    def __iter__(self) -> Iterator[PublishedFile]:
        """All files, part by part."""
        return (file for files in self.files.values() for file in files)

    @property
    def unverified(self) -> list[str]:
        """Paths of files whose checksum is not known."""
        return [file.path for file in self if file.md5 is None]

    def read(self, assets: Path, on_error: OnError = stop) -> dict[Part, list[Record]]:
        """Read all parts.

        assets (Path): The folder of assets.
        on_error (OnError): What becomes of broken records.
        RETURNS (dict[Part, list[Record]]): The records of train, dev and test; none of a part that was not published.
        RAISES (ValueError): P115 if a file is not there, P112 if one is not the published one, P111 if train is too
            small to take dev from it.
        """
        self.check(assets)
        reader = reader_for(self.format)
        parts: dict[Part, list[Record]] = {part: [] for part in PARTS}
        for part, files in self.files.items():
            for file in files:
                parts[part] += reader(assets / file.path, on_error)
        if self.dev_size:
            parts["train"], parts["dev"] = take_dev(parts["train"], self.dev_size, name=self.name)
        return parts

    def check(self, assets: Path) -> None:
        """Make sure that all files are there and are the published ones, as far as that is known.

        RAISES (ValueError): P115, saying where each missing file is to be had, or P112.
        """
        missing = [file for file in self if not (assets / file.path).is_file()]
        if missing:
            files = ", ".join(f"{assets / file.path}" + (f" from {file.url}" if file.url else "") for file in missing)
            obtain = self.obtain and f" {self.obtain}"
            values = {"name": self.name, "files": files, "obtain": obtain, "licence": self.licence}
            raise ValueError(Errors.P115.format(**values))
        for file in self:
            if file.md5 is not None:
                verify(assets / file.path, file.md5)


def verify(path: Path, md5: str) -> None:
    """RAISES (ValueError): P112 if the file's MD5 is another."""
    got = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if got != md5:
        raise ValueError(Errors.P112.format(path=path, got=got, expected=md5))
