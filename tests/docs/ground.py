"""What a reader of the pages has beside them: the project, a trained pipeline, some files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import srsly
from spacy.language import Language

from tests.checkpoints import write_checkpoint
from tests.docs.pages import ROOT
from tests.pipeline.makers import DATA, Gold, blank, train, write_docs

PIPELINE = "project/training/snips_screening/base/model-best"
"""Where the trained pipeline is, as the README has it."""

COPIES = (
    "training/model-best",
    "MODEL",
    "OTHER",
    "PIPELINE",
    "COMPACT/model-best",
    "ENGLISH/model-best",
    "model",
    "my_pipeline",
)
"""Where it is, too."""

BASES = ("Qwen/Qwen3-0.6B",)
"""Hub ids that are folders here, with a small random model of the family in them: a folder goes before the hub."""

DEV: list[Gold] = [*DATA, ("Show me Boston and Jaws", [(19, 23, "movie")]), ("Ghost in Paris", [(0, 5, "movie")])]
"""With mentions that the pipeline gets wrong: who learnt all by heart cannot be calibrated."""

LABELS = {"movie": "movie name", "city": None}


def trained() -> Language:
    """A pipeline that knows the sentences of `DATA`."""
    return train(blank())


def lay(folder: Path, nlp: Language) -> Path:
    """Put everything into a folder. RETURNS (Path): The folder."""
    (folder / PIPELINE).parent.mkdir(parents=True)
    nlp.to_disk(folder / PIPELINE)
    for copy in COPIES:
        shutil.copytree(folder / PIPELINE, folder / copy)
    for name in ("project.yml", "setup.py", "Makefile"):
        shutil.copy(ROOT / name, folder)
    for name in ("assets", "configs", "scripts"):
        (folder / "project" / name).symlink_to(ROOT / "project" / name)
    for base in BASES:
        write_checkpoint(folder / base, family="qwen3", tokenizer="qwen")
    _lay_files(folder)
    return folder


def _lay_files(folder: Path) -> None:
    (folder / "corpus").mkdir()
    for part, data in (("train", DATA), ("dev", DEV), ("test", DEV)):
        path = write_docs(folder / f"{part}.spacy", data)
        shutil.copy(path, folder / "corpus")
    for name in ("labels.json", "corpus/labels.json"):
        srsly.write_json(folder / name, LABELS)
    # What `project run convert` would write.
    shutil.copytree(folder / "corpus", folder / "project" / "corpus" / "snips_screening")
    records = [{"text": text, "spans": [list(span) for span in spans]} for text, spans in DATA]
    _write_lines(folder / "mentions.jsonl", records)
    letters = [{"body": text, "text": text} for text, _ in DATA]
    _write_lines(folder / "letters.jsonl", letters)
    (folder / "INPUT").mkdir()
    (folder / "INPUT" / "texts.txt").write_text("\n".join(text for text, _ in DATA), encoding="utf-8")


def _write_lines(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
