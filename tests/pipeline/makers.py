"""Small pipelines that learn a handful of sentences by heart within seconds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import Adam

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline import component
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.types import Answer, Answered, Branch, Course, Finish

FRESH: dict[str, Any] = {
    "@architectures": "spacy-padellm.FreshCausalLM.v1",
    "hidden_size": 32,
    "n_layers": 2,
    "n_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 320,
    "max_positions": 256,
    "device": "cpu",
}

Gold = tuple[str, list[tuple[int, int, str]]]

DATA: list[Gold] = [
    ("Is The Ghost playing at the cinema in Boston?", [(3, 12, "movie"), (38, 44, "city")]),
    ("Show me Jaws in Paris", [(8, 12, "movie"), (16, 21, "city")]),
    ("Paris Paris and Jaws", [(0, 5, "city"), (6, 11, "city"), (16, 20, "movie")]),
    ("nothing here", []),
]
"""What pipelines are trained on: a name of two words, a repeated string, a text without entities."""

TEXTS = [text for text, _ in DATA]

Found = list[tuple[int, int, str]]


def blank(model: dict[str, Any] | None = None, *, name: str = "padellm_ner", **settings: Any) -> Language:
    """A pipeline with nothing but our pipe, not initialised."""
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", name=name, config={"model": model or FRESH, **settings})
    return nlp


def block(name: str, prompt: str = "English") -> dict[str, Any]:
    """The config block of a scheme, by its name."""
    return {"@misc": f"spacy-padellm.{name}.v1", "prompt": {"@misc": f"spacy-padellm.{prompt}Prompt.v1"}}


def ours(nlp: Language, name: str = "padellm_ner") -> PaDeLLMNER:
    pipe = nlp.get_pipe(name)
    assert isinstance(pipe, PaDeLLMNER)
    return pipe


def examples(nlp: Language, data: Sequence[Gold] = DATA) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"entities": list(ents)}) for text, ents in data]


def train(nlp: Language, data: Sequence[Gold] = DATA, *, steps: int = 300, rate: float = 0.01) -> Language:
    """Initialise a pipeline and train it until it finds all spans of its examples with little doubt, or fail."""
    nlp.initialize(lambda: examples(nlp, data))
    optimizer = Adam(rate)
    for step in range(steps):
        optimizer.learn_rate = rate * (1 - step / steps)
        loss = nlp.update(examples(nlp, data), sgd=optimizer)["padellm_ner"]
        if loss < 0.05 and step % 10 == 0 and knows(nlp, data):
            return nlp
    raise AssertionError(f"not learnt: loss {loss:.3f}")


def knows(nlp: Language, data: Sequence[Gold]) -> bool:
    """Whether a pipeline finds the spans of its examples and nothing else, with few doubts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        docs = list(nlp.pipe([text for text, _ in data]))
    return all(
        spans(doc) == list(ents) and min(scores(doc), default=1.0) > 0.8
        for doc, (_, ents) in zip(docs, data, strict=True)
    )


def entities(doc: Doc) -> Found:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def spans(doc: Doc, key: str = "sc") -> Found:
    return [(span.start_char, span.end_char, span.label_) for span in doc.spans[key]]


def scores(doc: Doc, key: str = "sc") -> list[float]:
    return [float(score) for score in doc.spans[key].attrs["scores"]]


def annotations(nlp: Language, texts: Iterable[str] = TEXTS) -> list[tuple[Found, Found, list[float]]]:
    """Entities, spans and scores of some texts, rounded as far as batches may differ."""
    return [(entities(doc), spans(doc), [round(score, 4) for score in scores(doc)]) for doc in nlp.pipe(texts)]


def answers(nlp: Language, texts: Iterable[str] = TEXTS) -> list[list[tuple[str, int, str, float]]]:
    """Everything that was answered, readable or not: what half-trained models are compared by."""
    found = ours(nlp).predict([nlp.make_doc(text) for text in texts])
    return [
        [(branch.label, branch.ordinal, answer.text, round(answer.probability, 4)) for branch, answer in one.answered]
        for one in found
    ]


def weights(nlp: Language, name: str = "padellm_ner") -> dict[str, torch.Tensor]:
    """A copy of all weights of our pipe's model."""
    model = shim_of(ours(nlp, name).model).lm.model
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def write_docs(path: Path, data: Sequence[Gold] = DATA, *, group: str | None = None) -> Path:
    """A .spacy file with gold entities, and a gold span group where one is named."""
    nlp = spacy.blank("en")
    docs = []
    for example in examples(nlp, data):
        doc = example.reference
        if group is not None:
            doc.spans[group] = list(doc.ents)
        docs.append(doc)
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


Script = dict[tuple[str, int], str]
"""(label, ordinal) to answer: ordinal 0 is the count."""


@contextmanager
def answering(monkeypatch: Any, script: Script | Callable[[str], Script]) -> Iterator[list[list[str]]]:
    """Answer in the model's place while in the context. Counts that the script does not name are 0.

    YIELDS (list[list[str]]): The texts of each call.
    """
    calls: list[list[str]] = []

    def fake(
        lm: object, scheme: Any, labels: dict[str, str], texts: Iterable[Any], **_: Any
    ) -> Iterator[tuple[int, list[Answered] | Exception]]:
        calls.append([])
        for number, text in enumerate(texts):
            if text is None or isinstance(text, Exception):
                yield number, text or []
                continue
            calls[-1].append(text.string)
            lines = script(text.string) if callable(script) else script
            waiting: list[Branch] = list(scheme.ask(labels if text.labels is None else text.labels, text.string))
            done: list[Answered] = []
            while waiting:
                branch = waiting.pop(0)
                answer = lines.get((branch.label, branch.ordinal), "0")
                done.append(
                    Answered(branch, Answer(answer, 0.5 if branch.ordinal else 0.75, Finish.END, 1, Course(1, 1)))
                )
                waiting = [*scheme.follow(branch, answer), *waiting]
            yield number, done

    with monkeypatch.context() as patch:
        patch.setattr(component, "stream_texts", fake)
        yield calls
