"""The trained pipeline on three sentences that stand in no file of the project.

python project/demo.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spacy

SENTENCES = [
    "Is The Lantern Keeper's Daughter showing at Regal Theatres tonight?",
    "find the movie schedule for animated movies in the neighborhood",
    "When can I see Seven Paper Moons at the closest cinema?",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("project/training/snips_screening/base/model-best"))
    parser.add_argument("--page", type=Path, default=Path("project/visualizations/snips_screening/base.html"))
    arguments = parser.parse_args()
    nlp = spacy.load(arguments.model)
    for doc in nlp.pipe(SENTENCES):
        print(f"\n{doc.text}")
        group = doc.spans["sc"]
        for span, score in zip(group, group.attrs["scores"], strict=True):
            print(f"  {span.label_:22} {score:.3f}  {span.text}")
    print(f"\nGold and predicted entities of the test set: {arguments.page.resolve()}")


if __name__ == "__main__":
    main()
