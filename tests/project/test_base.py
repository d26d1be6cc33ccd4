"""The base model that comes with the project: what it has seen, and that it can do what it is shipped for."""

from pathlib import Path

import pytest
import spacy
import srsly
from spacy.training import Example

from spacy_padellm.data.catalogue import data_set
from spacy_padellm.data.converters.jsonl import read_jsonl
from spacy_padellm.data.splits import sameness

ASSETS = Path(__file__).parents[2] / "project" / "assets"
OTHERS = ASSETS / "snips" / "other_intents"


def test_it_has_seen_no_query_of_the_projects_data_sets():
    seen = {sameness(record.text) for part in ("train", "dev") for record in read_jsonl(OTHERS / f"{part}.jsonl")}
    assert len(seen) == 9741
    for name in ("snips_screening", "snips_weather"):
        for records in data_set(name).read(ASSETS).values():
            assert seen.isdisjoint(sameness(record.text) for record in records)


def test_it_is_small():
    assert sum(path.stat().st_size for path in (ASSETS / "base").iterdir()) < 12_000_000


@pytest.mark.filterwarnings("ignore:.*W002")
def test_it_counts_and_copies_in_queries_of_its_own_kind():
    """Sentences that stand in no file, with labels that it was trained on."""
    words = srsly.read_json(OTHERS / "labels.json")
    assert isinstance(words, dict)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(ASSETS / "base"), "device": "cpu"}
    pipe = nlp.add_pipe("padellm_ner", config={"model": model})
    labels = ("city", "party_size_number", "restaurant_type", "artist", "playlist", "rating_value")
    example = Example.from_dict(nlp.make_doc("x"), {"entities": []})
    pipe.initialize(lambda: [example], labels={label: words[label] for label in labels})  # type: ignore[attr-defined]
    found = {
        (ent.text, ent.label_)
        for doc in nlp.pipe(["book a table for 4 people at a tavern in Boston", "rate this novel 3 out of 6"])
        for ent in doc.ents
    }
    assert {("4", "party_size_number"), ("tavern", "restaurant_type"), ("3", "rating_value")} <= found
