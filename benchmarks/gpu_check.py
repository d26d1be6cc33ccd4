"""What only CUDA can show, in under five minutes.

    python -m benchmarks.gpu_check

It makes a random model, checks it and exits with 1 if a check fails; the last line printed is one JSON object. With
`--device cpu` the same checks run at small scale, to rehearse it.

1. packed    logits of packed trees equal those of each path run alone, in bfloat16 within the proof's tolerance
2. spans     spans found in float32 equal those found on the CPU, but for ties; in bfloat16, but for a counted few
3. training  one training step changes the adapter, only the adapter, and its loss is finite
4. memory    what decoding and training took is given back
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks.surroundings import surroundings
from spacy_padellm.backends.local import Text, answer_texts
from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.checkpoint import choose_device
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import prove
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.training.batching import rows_of
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.targets import grow_gold
from spacy_padellm.types import Mention

NAMES = ["Ada", "Berlin", "Cuttitta", "Delft", "Eiffel", "Fiji", "Goa", "Hugo", "Iris", "Jaipur", "Kyiv", "Lima"]
LABELS = {"PER": "person", "LOC": "location"}
FEW = {torch.float32: 0.005, torch.bfloat16: 0.05}
"""Share of the mentions that may be found otherwise."""

TAUGHT = 0.01
"""The loss at which a model is sure of its answers."""


def made_texts(count: int) -> list[tuple[Text, list[Mention]]]:
    """Short texts with one to three names each; every name is always of the same label."""
    draw = np.random.default_rng(0)
    made = []
    for _ in range(count):
        chosen = [NAMES[at] for at in draw.choice(len(NAMES), size=int(draw.integers(1, 4)), replace=False)]
        words = " and ".join(chosen).split()
        words = ["we", "saw", *words, "again"]
        starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
        borders = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
        gold = [Mention("PER" if NAMES.index(word) % 2 else "LOC", word) for word in words if word in NAMES]
        made.append((Text(" ".join(words), borders), gold))
    return made


def make(width: int, layers: int, pieces: Pieces) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=FOREST)


def teach(lm: LanguageModel, scheme: PaDeLLM, made: Sequence[tuple[Text, list[Mention]]], steps: int) -> float:
    """Train all weights a little, until answers are not noise. Returns the last loss."""
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=5e-4)
    trees = [grow_gold(scheme, LABELS, text.string, gold, lm.pieces) for text, gold in made]
    lm.model.train()
    last = float("nan")
    for step in range(steps):
        batch = [trees[at % len(trees)] for at in range(step * 16, step * 16 + 16)]
        optimizer.zero_grad()
        for row in rows_of(batch, 8192):
            mean = row_loss(lm, row) / sum(tree.weight for tree in row)
            mean.backward()
            last = mean.item()
        optimizer.step()
        if last < TAUGHT:
            break
    lm.model.eval()
    return last


def found(lm: LanguageModel, scheme: PaDeLLM, texts: Sequence[Text]) -> list[set[tuple[str, int, str]]]:
    answered = answer_texts(lm, scheme, LABELS, texts, decoding=Decoding(), counters=Counters())
    return [{(m.label, m.ordinal, m.string) for m in scheme.read(answers).mentions} for answers in answered]


def check_packed(lm: LanguageModel) -> dict[str, object]:
    prove(lm)
    return {"passed": True}


def check_spans(lm: LanguageModel, reference: LanguageModel, scheme: PaDeLLM, texts: list[Text]) -> dict[str, object]:
    ours, theirs = found(lm, scheme, texts), found(reference, scheme, texts)
    total = sum(len(mentions) for mentions in theirs)
    differing = sum(len(first ^ second) for first, second in zip(ours, theirs, strict=True))
    few = FEW[next(lm.model.parameters()).dtype]
    return {"passed": total > 0 and differing <= few * total, "mentions": total, "differing": differing}


def check_training(lm: LanguageModel, scheme: PaDeLLM, made: Sequence[tuple[Text, list[Mention]]]) -> dict[str, object]:
    model = get_peft_model(lm.model, LoraConfig(task_type=TaskType.CAUSAL_LM, target_modules="all-linear"))
    adapted = LanguageModel(model, lm.pieces, lm.device, lm.name)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trees = [grow_gold(scheme, LABELS, text.string, gold, lm.pieces) for text, gold in made[:8]]
    model.train()
    loss = row_loss(adapted, trees) / sum(tree.weight for tree in trees)
    loss.backward()
    torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-3).step()
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    only_adapter = bool(changed) and all("lora_" in name for name in changed)
    return {"passed": only_adapter and bool(torch.isfinite(loss)), "loss": loss.item(), "changed": len(changed)}


def check_memory(work: Callable[[], object], device: torch.device) -> dict[str, object]:
    """Run some work twice; after the second time no more may be held than after the first."""
    held = []
    for _ in range(3):
        work()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize()
            held.append(torch.cuda.memory_allocated())
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {"passed": not held or held[-1] <= held[0], "held_bytes": held, "peak_bytes": peak}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--texts", type=int, default=256)
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    device = choose_device(arguments.device)
    scheme = PaDeLLM(build_english_prompt_v1())
    made = made_texts(arguments.texts)
    texts = [text for text, _ in made]
    questions = [branch.question for branch in scheme.ask(LABELS)]
    tokenizer = train_tokenizer([text.string for text in texts], questions, 400)
    pieces = Pieces(tokenizer, leading_blank=True)
    lm = LanguageModel(make(arguments.width, arguments.layers, pieces).to(device), pieces, device, "random Llama")
    results: dict[str, dict[str, object]] = {"taught": {"loss": teach(lm, scheme, made, arguments.steps)}}
    cpu = torch.device("cpu")
    reference = LanguageModel(make(arguments.width, arguments.layers, pieces), pieces, cpu, "reference")
    reference.model.load_state_dict(lm.model.state_dict())
    reference.model.eval()
    results["spans in float32"] = check_spans(lm, reference, scheme, texts)
    lm.model.to(torch.bfloat16)
    results["packed"] = check_packed(lm)
    results["spans in bfloat16"] = check_spans(lm, reference, scheme, texts)
    results["memory"] = check_memory(lambda: found(lm, scheme, texts), device)
    results["training"] = check_training(lm, scheme, made)
    passed = all(result.get("passed", True) for result in results.values())
    seconds = time.perf_counter() - start
    print(json.dumps({"passed": passed, "seconds": round(seconds, 1), **results, **surroundings()}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
