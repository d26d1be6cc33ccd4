"""Another machine with the hub's library set to the stand-in by its environment: models are trained over what the hub
has, pushed, and loaded back by the code of their cards.

    python -m tests.sharing.elsewhere FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import warnings
from pathlib import Path

from huggingface_hub import snapshot_download
from peft import PeftConfig
from spacy.language import Language
from thinc.api import Adam
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from spacy_padellm.cli import app
from spacy_padellm.pipeline.model_card import TEXT
from tests.pipeline.makers import answers, blank, examples, weights
from tests.sharing.conftest import KNOWN, TOKEN_NAME

BASE = "ada/base"


def main(folder: Path) -> None:
    warnings.filterwarnings("ignore", message=r"\[W001\]")
    nlp = adapted()
    nlp.to_disk(folder / "adapted")
    told = {"expected": str([(ent.text, ent.label_) for ent in nlp(TEXT).ents]), "answers": answers(nlp)}
    for form in ("adapter", "as-is", "pipeline", "merged"):
        push(folder / "adapted", form)
        readme = Path(snapshot_download(f"ada/{form}")) / "README.md"
        codes = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf8"), flags=re.DOTALL)
        told[form] = [run(codes[0], folder), *(run(one, readme.parent) for one in codes[1:])]
    config = PeftConfig.from_pretrained("ada/adapter")
    told["peft"] = config.base_model_name_or_path
    told["merged_weights"] = sum(
        weight.numel() for weight in AutoModelForCausalLM.from_pretrained("ada/merged").parameters()
    )
    print(json.dumps(told))


def adapted() -> Language:
    """A little training further than the base model of the hub."""
    lora = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4}
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": BASE, "device": "cpu", "lora": lora}
    nlp = blank(model, spans_key="found")
    nlp.initialize(lambda: examples(nlp, KNOWN))
    before = weights(nlp)
    optimizer = Adam(0.001)
    for _ in range(5):
        nlp.update(examples(nlp, KNOWN), sgd=optimizer)
    assert any((before[name] != weight).any() for name, weight in weights(nlp).items())
    return nlp


def push(model: Path, form: str) -> None:
    options = ["--licence", "mit", "--token-name", TOKEN_NAME, "--yes"]
    result = CliRunner().invoke(app, ["push", str(model), f"ada/{form}", f"--{form}", *options])
    assert result.exit_code == 0, result.output


def run(code: str, folder: Path) -> str:
    os.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue().strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
