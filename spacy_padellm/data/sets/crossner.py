"""CrossNER's five domains: small training parts, many labels."""

from __future__ import annotations

from types import MappingProxyType

from spacy_padellm.data.data_set import PARTS, DataSet, Part, PublishedFile

_URL = "https://raw.githubusercontent.com/zliucr/CrossNER/2e7ba2a7798c961e3f29fbc51252c5a8d40224bf/ner_data"
_WORDS = {
    "misc": "miscellaneous",
    "programlang": "programming language",
    "literarygenre": "literary genre",
    "musicalartist": "musical artist",
    "musicalinstrument": "musical instrument",
    "musicgenre": "music genre",
    "politicalparty": "political party",
    "academicjournal": "academic journal",
    "astronomicalobject": "astronomical object",
    "chemicalcompound": "chemical compound",
    "chemicalelement": "chemical element",
}


def _crossner(domain: str, *, labels: str, split: str, md5: dict[Part, str] | None = None) -> DataSet:
    """One domain.

    labels (str): Its labels between blanks. A label is its own word in the prompt unless `_WORDS` has better ones.
    md5 (dict[Part, str] | None): The checksums of its files, None where they are not known.
    """
    known = md5 or {}
    files: dict[Part, tuple[PublishedFile, ...]] = {
        part: (
            PublishedFile(path=f"crossner/{domain}/{part}.txt", url=f"{_URL}/{domain}/{part}.txt", md5=known.get(part)),
        )
        for part in PARTS
    }
    return DataSet(
        name=f"crossner_{domain}",
        title=f"CrossNER {domain}",
        lang="en",
        format="conll",
        files=MappingProxyType(files),
        labels=MappingProxyType({label: _WORDS.get(label, label) for label in labels.split()}),
        licence="MIT (c) 2020 Zihan Liu; the sentences are Wikipedia's (CC BY-SA)",
        citation="Liu Z. et al., CrossNER: Evaluating Cross-Domain Named Entity Recognition, AAAI 2021, "
        "https://arxiv.org/abs/2012.04373",
        split=split,
    )


ENTRIES = (
    _crossner(
        "ai",
        labels="algorithm conference country field location metrics misc organisation person product programlang "
        "researcher task university",
        md5={
            "train": "c6ff7695176fa98482e23e9bc4d56f79",
            "dev": "510e5a0818636f360344807ebd88161b",
            "test": "7ac104b77b3f76cfaba29148894b2c3c",
        },
        split="train 100, dev 350, test 431",
    ),
    _crossner(
        "literature",
        labels="award book country event literarygenre location magazine misc organisation person poem writer",
        md5={
            "train": "48f7eb43ff9a3c25e784ce85d1fad115",
            "dev": "dc4fe4c5fb621064cf3d62f4c5ca5b9d",
            "test": "56f3826a706112f892e5cbbfc9d2ff02",
        },
        split="train 100, dev 400, test 416",
    ),
    _crossner(
        "music",
        labels="album award band country event location misc musicalartist musicalinstrument musicgenre organisation "
        "person song",
        md5={
            "train": "4556a35e4b111f0b0bd4e3898c2d7def",
            "dev": "1213fa682e3b264c24772de155a79076",
            "test": "7f91b73b437880b4f55062525bd2e3c2",
        },
        split="train 100, dev 380, test 465",
    ),
    _crossner(
        "politics",
        labels="country election event location misc organisation person politicalparty politician",
        split="train 200, dev 541, test 651",
    ),
    _crossner(
        "science",
        labels="academicjournal astronomicalobject award chemicalcompound chemicalelement country discipline enzyme "
        "event location misc organisation person protein scientist theory university",
        split="train, dev and test as published, not counted",
    ),
)
