"""Train each scheme from the same first weights on the same documents for the same number of updates, and other spaCy
pipelines on these documents beside them.

    python project/scripts/train_schemes.py CORPUS FIRST OUTPUT --updates 1000 --seeds 0 1 --rivals ner

CORPUS has train.spacy, dev.spacy and labels.json. A rival is a config: `ner` is project/configs/ner.cfg. OUTPUT gets a
folder for each seed and scheme, with training.json beside the pipeline once it is trained: what is there already, from
the same command and files, is not trained again. What else is said changes the config of every scheme, as with
`spacy train`: `--corpora.train.augmenter.share 0.3`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from wasabi import msg
from weasel.util.hashing import get_checksum

from spacy_padellm.cli.root import coded_errors

SCHEMES = {
    "padellm": "PaDeLLM",
    "one_step": "OneStep",
    "structured": "AutoRegStruct",
    "augmented": "AutoRegAug",
}
"""Folder to the registered name, without "spacy-padellm." and ".v1"."""

RECORD = "training.json"
"""Written beside a pipeline once it is trained."""


@dataclass(frozen=True)
class Training:
    """What all schemes have in common.

    corpus (Path): Folder of train.spacy, dev.spacy and labels.json.
    first (str): The first weights: a folder or a hub id.
    configs (Path): Folder of the configs.
    config (str): Which of them trains the schemes.
    lang (str): Language code.
    prompt (str): "English", "Chinese" or "Compact".
    updates (int): Of the weights.
    evaluations (int): How often a pipeline is scored on dev while it is trained; the best one is kept.
    limit (int): Take only so many training documents, the first ones; 0 for all.
    gpu_id (int): -1 for the CPU.
    changes (tuple[str, ...]): What else `spacy train` is told of a scheme, not of a rival.
    """

    corpus: Path
    first: str
    configs: Path
    config: str
    lang: str
    prompt: str
    updates: int
    evaluations: int
    limit: int
    gpu_id: int
    changes: tuple[str, ...] = ()

    def command(self, name: str, seed: int, folder: Path) -> list[str]:
        """How one pipeline is trained."""
        settings: dict[str, Any] = {
            "paths.train": self.corpus / "train.spacy",
            "paths.dev": self.corpus / "dev.spacy",
            "nlp.lang": self.lang,
            "system.seed": seed,
            "training.max_steps": self.updates,
            "training.eval_frequency": max(self.updates // self.evaluations, 1),
            "corpora.train.limit": self.limit,
        }
        if name in SCHEMES:
            settings |= {
                "paths.labels": self.corpus / "labels.json",
                "paths.base": self.first,
                "components.padellm_ner.scheme.@misc": f"spacy-padellm.{SCHEMES[name]}.v1",
                "components.padellm_ner.scheme.prompt.@misc": f"spacy-padellm.{self.prompt}Prompt.v1",
            }
        written = util.load_config(self.config_path(name))
        if "settle_after" in (written["corpora"]["train"].get("augmenter") or {}):
            # Swapping settles when training ends.
            texts = self.updates * written["training"]["batcher"]["size"]
            settings["corpora.train.augmenter.settle_after"] = texts
        overrides = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
        command = ["-m", "spacy", "train", str(self.config_path(name)), "--output", str(folder)]
        changes = self.changes if name in SCHEMES else ()
        return [*command, "--gpu-id", str(self.gpu_id), *overrides, *changes]

    def config_path(self, name: str) -> Path:
        """Of a scheme, or of a rival of that name."""
        return self.configs / f"{self.config if name in SCHEMES else name}.cfg"

    def checksums(self, name: str) -> dict[str, str]:
        """Of the files that a pipeline is made of. A model of the hub has none here."""
        parts = ("train.spacy", "dev.spacy", "labels.json")
        files = [self.config_path(name), *(self.corpus / file for file in parts)]
        if name in SCHEMES and Path(self.first).is_dir():
            files += sorted(path for path in Path(self.first).iterdir() if path.is_file())
        return {str(file): get_checksum(file) for file in files}


def train_all(training: Training, output: Path, names: Sequence[str], seeds: Sequence[int]) -> Iterator[Path]:
    """Train what is not trained yet.

    output (Path): The folder to write to.
    names (Sequence[str]): Of `SCHEMES`, or of rivals' configs.
    YIELDS (Path): Each pipeline's folder.
    RAISES (ValueError): If one of them has no config. Nothing is trained then.
    """
    for name in names:
        if not training.config_path(name).is_file():
            raise ValueError(f"There is no config for {name!r}: expected a file {training.config_path(name)}.")
    for seed in seeds:
        for name in names:
            folder = output / f"seed-{seed}" / name
            command, record = training.command(name, seed, folder), folder / RECORD
            made_of = {"command": ["python", *command], "inputs": training.checksums(name)}
            if made_of.items() <= read_record(record).items():
                msg.info(f"{folder}: trained already")
            else:
                msg.divider(str(folder))
                record.unlink(missing_ok=True)
                srsly.write_json(record, {"scheme": name, "seed": seed, **made_of, **_train(command, folder)})
            yield folder


def read_record(record: Path) -> dict[str, Any]:
    """What a record says; nothing where there is none, or one that was cut off while it was written."""
    try:
        told: dict[str, Any] = srsly.read_json(record)
    except (ValueError, OSError):
        return {}
    return told


def _train(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """Train one pipeline in an interpreter of its own, so that none inherits memory or random numbers from another.

    RETURNS (dict[str, Any]): What it took: wall clock and processor time, dev scoring included.
    RAISES (CalledProcessError): If the training fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun, used = time.perf_counter(), _children_seconds()
    subprocess.run([sys.executable, *command], check=True)
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(_children_seconds() - used, 1),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "dev": srsly.read_json(folder / "model-best" / "meta.json")["performance"],
    }


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="Train each scheme from the same first weights.")
    parser.add_argument("corpus", type=Path, help="folder of train.spacy, dev.spacy and labels.json")
    parser.add_argument("first", help="the first weights: a folder, or a hub id")
    parser.add_argument("output", type=Path, help="folder for the pipelines")
    parser.add_argument("--configs", type=Path, default=Path("project/configs"))
    parser.add_argument("--config", default="compare", help="the config that trains the schemes")
    parser.add_argument("--schemes", nargs="*", choices=list(SCHEMES), default=list(SCHEMES))
    parser.add_argument("--rivals", nargs="*", default=["ner"], help="configs of other pipelines to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lang", default="en")
    parser.add_argument("--prompt", default="English", help="English, Chinese or Compact")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--limit", type=int, default=0, help="take only the first so many training documents")
    parser.add_argument("--gpu-id", type=int, default=-1)
    known, changes = parser.parse_known_args()
    options = vars(known)
    output, schemes, rivals, seeds = (options.pop(name) for name in ("output", "schemes", "rivals", "seeds"))
    names, seeds = (list(dict.fromkeys(some)) for some in ([*schemes, *rivals], seeds))
    with coded_errors():
        for folder in train_all(Training(**options, changes=tuple(changes)), output, names, seeds):
            told = srsly.read_json(folder / RECORD)
            msg.good(f"{folder}: {told['seconds']} s, dev F {100 * (told['dev'].get('ents_f') or 0):.2f}")


if __name__ == "__main__":
    main()
