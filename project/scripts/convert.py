"""Published files of one data set to gold documents: train, dev and test, and the labels' words in the prompt.

    python project/scripts/convert.py snips_screening project/assets project/corpus/snips_screening
    python project/scripts/convert.py snips/other_intents project/assets project/corpus/snips/other_intents

In place of an entry of the catalogue it may be a folder of assets with labels.json, train.jsonl and what there is of
dev.jsonl and test.jsonl.

The folder gets train.spacy, dev.spacy, test.spacy, labels.json and summary.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import spacy
import srsly
from wasabi import msg

from spacy_padellm.cli.convert import print_summary
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.catalogue import data_set
from spacy_padellm.data.data_set import PARTS, DataSet, PublishedFile
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.data.records import Skip, stop
from spacy_padellm.data.splits import count_doubles, without_doubles
from spacy_padellm.pipeline.label_spec import Kept, LabelSpec
from spacy_padellm.pipeline.labels import check_labels


def entry_of(name: str, assets: Path, *, lang: str = "en") -> DataSet:
    """An entry of the catalogue, or a folder of assets as one.

    RAISES (ValueError): P108 if it is neither; P015, P016 or P190 for labels that are none.
    """
    folder = assets / name
    if not labels_file(folder).is_file():
        return data_set(name)
    labels = labels_given(folder)
    paths = {part: f"{name}/{part}.jsonl" for part in PARTS}
    return DataSet(
        name=name,
        title=name,
        lang=lang,
        format="jsonl",
        files={part: (PublishedFile(path),) for part, path in paths.items() if (assets / path).is_file()},
        labels={label: LabelSpec.of(label, given).words or label for label, given in labels.items()},
        licence="",
        citation="",
        split="as the files are",
    )


def labels_file(folder: Path) -> Path:
    return folder / "labels.json"


def labels_given(folder: Path) -> dict[str, Kept]:
    """The labels of a folder of assets, with all that is said about them; a name alone stands for itself."""
    labels = check_labels(read_labels_v1(path=labels_file(folder)))
    return {label: label if given is None else given for label, given in labels.items()}


def convert(
    name: str,
    assets: Path,
    output: Path,
    *,
    doubles: str = "keep",
    limit: int = 0,
    on_error: str = "stop",
    lang: str = "en",
) -> dict[str, Any]:
    """Convert one data set of the catalogue, or a folder of assets.

    name (str): Its name in the catalogue, or the folder's below `assets`.
    assets (Path): Folder of the published files.
    output (Path): Folder for train.spacy, dev.spacy, test.spacy, labels.json and summary.json.
    doubles (str): "keep" the training part as published, or "drop" the texts that stand earlier in train, or in dev
        or test.
    limit (int): Take only so many texts of each part, 0 for all: to try the project out.
    on_error (str): At a broken record "stop", or "skip" it.
    lang (str): The language of a folder's texts. The catalogue knows that of its entries.
    RETURNS (dict[str, Any]): What was done, as in summary.json.
    RAISES (ValueError): P115 if files are missing, P112 if one is not the published one, or what the format's reader
        has to say about broken ones.
    """
    entry = entry_of(name, assets, lang=lang)
    skip = Skip()
    parts = entry.read(assets, skip if on_error == "skip" else stop)
    found = count_doubles(parts["train"], parts["dev"], parts["test"])
    told = {**about(entry), "broken": skip.messages, "doubles": {"rule": doubles, **found._asdict()}}
    if doubles == "drop":
        parts["train"] = without_doubles(parts["train"], parts["dev"], parts["test"])
    nlp = spacy.blank(entry.lang)
    output.mkdir(parents=True, exist_ok=True)
    own = labels_file(assets / name).is_file()
    labels: dict[str, Kept] = labels_given(assets / name) if own else dict(entry.labels)
    for part in PARTS:
        records = parts[part][:limit] if limit else parts[part]
        doc_bin, summary = to_doc_bin(records, nlp)
        doc_bin.to_disk(output / f"{part}.spacy")
        msg.divider(f"{entry.title}: {part}")
        print_summary(summary, 0)
        told[part] = {**summary.figures(), "labels": dict(sorted(summary.labels.items()))}
        # Where labels are words there is no list of them: those of train are asked about.
        labels = labels or {label: label for label in told["train"]["labels"]}
    srsly.write_json(output / "labels.json", labels)
    srsly.write_json(output / "summary.json", told)
    return told


def about(entry: DataSet) -> dict[str, Any]:
    """What the catalogue says about a data set, as it goes into summary.json."""
    return {
        "dataset": entry.name,
        "licence": entry.licence,
        "citation": entry.citation,
        "split": entry.split,
        "nested": entry.nested,
        "published": dict(entry.published),
        "unverified": entry.unverified,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert a data set of the catalogue to .spacy files.")
    parser.add_argument("name", help="its name in the catalogue, or a folder of assets")
    parser.add_argument("assets", type=Path, help="folder of the published files")
    parser.add_argument("output", type=Path, help="folder for the .spacy files")
    parser.add_argument("--doubles", choices=("keep", "drop"), default="keep", help="training texts that are not new")
    parser.add_argument("--limit", type=int, default=0, help="take only so many texts of each part")
    parser.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="at a broken record")
    parser.add_argument("--lang", default="en", help="language of the texts in a folder of assets")
    options = vars(parser.parse_args())
    with coded_errors():
        told = convert(options.pop("name"), options.pop("assets"), options.pop("output"), **options)
    for path in told["unverified"]:
        msg.warn(f"No checksum is known for {path}: it was read as it is")
    if told["broken"]:
        msg.warn(f"{len(told['broken'])} broken records were left out. The first: {told['broken'][0]}")
    found = told["doubles"]
    msg.info(
        f"Doubles, case and white space aside: {found['within']} training texts stand earlier in train, "
        f"{found['dev']} dev and {found['test']} test texts stand in train ({found['rule']})"
    )


if __name__ == "__main__":
    main()
