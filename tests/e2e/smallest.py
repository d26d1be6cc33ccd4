"""The smallest end-to-end run, with nothing but an installed spacy-padellm: train a tiny model, annotate, save, and
load in a second process, which must find the same mentions with the same scores.

    python -I tests/e2e/smallest.py
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed

TINY = {
    "@architectures": "spacy-padellm.FreshCausalLM.v1",
    "hidden_size": 32,
    "n_layers": 2,
    "n_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 400,
}
GOLD = [
    ("Japan beat Syria in Tokyo .", [(0, 5, "TEAM"), (11, 16, "TEAM"), (20, 25, "CITY")]),
    ("Nadim flew to Tokyo .", [(14, 19, "CITY")]),
    ("Nothing happened at all .", []),
]
TEXTS = [*(text for text, _ in GOLD), "Syria flew to Japan .", ""]
MOST_UPDATES = 200


def examples(nlp: Language) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in GOLD]


def train() -> Language:
    """RETURNS (Language): A pipeline that knows its three examples: the loss has fallen to a fiftieth."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": TINY})
    optimizer = nlp.initialize(lambda: examples(nlp))
    optimizer.learn_rate = 0.01
    seen: list[float] = []
    for _ in range(MOST_UPDATES):
        losses: dict[str, float] = {}
        nlp.update(examples(nlp), sgd=optimizer, losses=losses)
        seen.append(losses["padellm_ner"])
        if seen[-1] < seen[0] / 50:
            return nlp
    raise SystemExit(f"the loss did not fall: {seen[0]:.3f} at first, {seen[-1]:.3f} after {MOST_UPDATES} updates")


def annotate(nlp: Language) -> list[dict[str, Any]]:
    """RETURNS (list[dict]): Entities, all mentions and their scores of every text, in the order of the texts."""
    found = []
    for doc in nlp.pipe(TEXTS):
        group = doc.spans["sc"]
        found.append(
            {
                "ents": [[span.start_char, span.end_char, span.label_] for span in doc.ents],
                "spans": [[span.start_char, span.end_char, span.label_] for span in group],
                "scores": [float(score) for score in group.attrs["scores"]],
            }
        )
    return found


def same(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Places and labels equal, scores equal to five digits."""
    for one, two in zip(before, after, strict=True):
        if (one["ents"], one["spans"]) != (two["ents"], two["spans"]) or len(one["scores"]) != len(two["scores"]):
            return False
        if any(abs(a - b) > 1e-5 for a, b in zip(one["scores"], two["scores"], strict=True)):
            return False
    return True


def main() -> None:
    nlp = train()
    before = annotate(nlp)
    if not any(found["ents"] for found in before):
        raise SystemExit("the trained pipeline found no entity: the comparison would say nothing")
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(folder)
        command = [sys.executable, "-I", str(Path(__file__).resolve()), folder]
        after = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    if not same(before, after):
        raise SystemExit(f"saved and loaded, the pipeline answers differently:\n{before}\n{after}")
    import spacy_padellm

    entities = sum(len(found["ents"]) for found in before)
    print(f"spacy-padellm {spacy_padellm.__version__} in {Path(spacy_padellm.__file__).parent}:")
    print(f"trained, annotated ({entities} entities), saved, loaded in a second process, same answers")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        json.dump(annotate(spacy.load(sys.argv[1])), sys.stdout)
    else:
        main()
