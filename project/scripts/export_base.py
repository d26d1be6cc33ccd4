"""Takes the decoder out of a trained pipeline, as a base model that other trainings start from.

    python project/scripts/export_base.py project/training/base/model-best project/assets/base

Weights are written in float16, which halves the file; `spacy-padellm.CausalLM.v1` reads them as float32.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LEFT_BEHIND = {"model.safetensors", "generation_config.json"}


def export(pipeline: Path, output: Path, *, pipe: str = "padellm_ner") -> None:
    """Copy a pipe's decoder and its tokenizer.

    pipeline (Path): A pipeline's folder.
    output (Path): The folder to write to; its README stays.
    pipe (str): The pipe's name.
    """
    model = pipeline / pipe / "model"
    if (model / "base").is_dir():  # a CausalLM.v1 that was trained as a whole; FreshCausalLM.v1 has no such folder
        model /= "base"
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(model.iterdir()):
        if file.name not in LEFT_BEHIND:
            shutil.copyfile(file, output / file.name)
    weights = {name: weight.to(torch.float16) for name, weight in load_file(model / "model.safetensors").items()}
    target = output / "model.safetensors"
    save_file(weights, target, metadata={"format": "pt"})
    target.chmod(0o644)  # safetensors writes files only their owner can read
    print(f"{sum(weight.numel() for weight in weights.values()):,} weights, {target.stat().st_size:,} bytes: {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    export(options.pipeline, options.output)


if __name__ == "__main__":
    main()
