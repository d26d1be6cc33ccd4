"""What spaCy asks of a trainable pipe: labels, initialising, training, saving, sharing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
from confection import ConfigValidationError
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam

from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline import component
from tests.pipeline.makers import (
    DATA,
    FRESH,
    TEXTS,
    annotations,
    blank,
    entities,
    examples,
    ours,
    same_weights,
    spans,
    weights,
)

# Labels


def test_add_label_says_whether_it_is_new():
    pipe = ours(blank())
    assert [pipe.add_label("city"), pipe.add_label("movie"), pipe.add_label("city")] == [1, 1, 0]
    assert pipe.labels == ("city", "movie")
    assert "movie" in pipe.vocab.strings


@pytest.mark.parametrize("label", ["", "  \n", 5, None])
def test_label_that_is_none_p015(label: Any):
    with pytest.raises(ValueError, match=r"\[P015\]"):
        ours(blank()).add_label(label)


def test_labels_of_the_examples_are_taken_in_alphabetical_order():
    nlp = blank()
    nlp.initialize(lambda: examples(nlp, DATA[::-1]))
    assert ours(nlp).labels == ("city", "movie")
    assert ours(nlp).label_data == ["city", "movie"]


def questions(monkeypatch: pytest.MonkeyPatch, nlp: Language) -> list[str]:
    """The questions about labels that a pipe asks."""
    asked: list[str] = []

    def spy(lm: object, scheme: Any, labels: dict[str, str], texts: Iterable[Any], **_: Any) -> Iterator[Any]:
        asked.extend(branch.question for branch in scheme.ask(labels))
        return ((number, []) for number, _ in enumerate(texts))

    with monkeypatch.context() as patch:
        patch.setattr(component, "stream_texts", spy)
        nlp("A text.")
    return asked


def test_given_labels_keep_their_order(monkeypatch: pytest.MonkeyPatch):
    nlp = blank()
    ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=["movie", "city"])
    assert ours(nlp).labels == ("movie", "city")
    assert questions(monkeypatch, nlp) == ["entity type:\nmovie\n\n<num>", "entity type:\ncity\n\n<num>"]


def test_words_of_labels_reach_the_prompt(monkeypatch: pytest.MonkeyPatch):
    nlp = blank()
    labels = {"movie": "title of a film", "city": None}
    ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=labels)
    assert ours(nlp).label_data == labels
    assert questions(monkeypatch, nlp) == ["entity type:\ntitle of a film\n\n<num>", "entity type:\ncity\n\n<num>"]


def test_label_words_of_the_prompt_reach_the_prompt(monkeypatch: pytest.MonkeyPatch):
    prompt = {"@misc": "spacy-padellm.EnglishPrompt.v1", "label_words": {"city": "town", "movie": "film"}}
    nlp = blank(scheme={"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": prompt})
    ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels={"city": None, "movie": "motion picture"})
    asked = questions(monkeypatch, nlp)
    assert asked == ["entity type:\ntown\n\n<num>", "entity type:\nmotion picture\n\n<num>"]


@pytest.mark.parametrize("labels", [["movie", "city"], {"movie": "title of a film", "city": None}])
def test_label_data_goes_back_in(labels: Any, tmp_path: Path):
    nlp = blank()
    ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=labels)
    srsly.write_json(tmp_path / "labels.json", ours(nlp).label_data)
    again = blank()
    again.config["initialize"]["components"]["padellm_ner"] = {
        "labels": {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "labels.json"), "require": True}
    }
    again.initialize(lambda: examples(again))
    assert ours(again).label_data == labels
    assert ours(again).labels == ("movie", "city")


@pytest.mark.parametrize("labels", ["city", 5, 0, {"a", "b"}])
def test_labels_of_another_kind_p016(labels: Any):
    nlp = blank()
    with pytest.raises(ValueError, match=r"\[P016\]"):
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=labels)


def test_labels_of_another_kind_in_the_config():
    nlp = blank()
    nlp.config["initialize"]["components"]["padellm_ner"] = {"labels": 5}
    with pytest.raises(ConfigValidationError, match="labels"):
        nlp.initialize(lambda: examples(nlp))


def test_unknown_setting_of_initialize():
    nlp = blank()
    nlp.config["initialize"]["components"]["padellm_ner"] = {"unheard_of": 5}
    with pytest.raises(ConfigValidationError, match="unheard_of"):
        nlp.initialize(lambda: examples(nlp))


def test_no_labels_anywhere_p011():
    nlp = blank()
    with pytest.raises(ValueError, match=r"\[P011\] The pipe 'padellm_ner'"):
        nlp.initialize(lambda: examples(nlp, [("nothing here", [])]))


def test_predicting_without_labels_p011(trained: Callable[..., Language]):
    nlp = trained()
    ours(nlp).cfg["labels"].clear()
    with pytest.raises(ValueError, match=r"\[P011\]"):
        nlp("A text.")


def test_label_without_examples_w002():
    nlp = blank()
    ours(nlp).add_label("actor")
    with pytest.warns(UserWarning, match=r"\[W002\].*: actor\.$"):
        nlp.initialize(lambda: examples(nlp))
    assert ours(nlp).labels == ("actor", "city", "movie")


def test_label_that_is_not_asked_about_w003():
    nlp = blank()
    with pytest.warns(UserWarning, match=r"\[W003\].*: movie\.$"):
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=["city"])
    assert ours(nlp).labels == ("city",)


def test_no_examples_at_all():
    nlp = blank()
    with pytest.raises(TypeError, match="E930"):
        nlp.initialize(lambda: [])


def test_label_added_later_is_asked_about(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    ours(nlp).add_label("actor")
    assert questions(monkeypatch, nlp)[-1] == "entity type:\nactor\n\n<num>"


# Before there is a model


@pytest.mark.parametrize("use", ["call", "pipe", "update", "get_loss"])
def test_use_before_initialising_p010(use: str):
    nlp = blank()
    ours(nlp).add_label("city")
    uses: dict[str, Callable[[], Any]] = {
        "call": lambda: nlp("A text."),
        "pipe": lambda: list(nlp.pipe(["A text."])),
        "update": lambda: ours(nlp).update(examples(nlp)),
        "get_loss": lambda: ours(nlp).get_loss(examples(nlp)),
    }
    with pytest.raises(ValueError, match=r"\[P010\]"):
        uses[use]()


# Training


def gradients(nlp: Language) -> dict[str, torch.Tensor]:
    model = shim_of(ours(nlp).model).lm.model
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_get_loss_is_the_loss_of_an_update_and_changes_nothing(trained: Callable[..., Language]):
    nlp = trained()
    before = weights(nlp)
    loss, gradient = ours(nlp).get_loss(examples(nlp), None)
    assert gradient == 1.0
    assert same_weights(before, weights(nlp))
    assert gradients(nlp) == {}
    assert loss == pytest.approx(nlp.update(examples(nlp), sgd=False)["padellm_ner"], rel=1e-4)
    assert ours(nlp).get_loss([]) == (0.0, 1.0)


def test_update_without_optimizer_leaves_the_weights_to_finish_update(trained: Callable[..., Language]):
    nlp = trained()
    before = weights(nlp)
    ours(nlp).update(examples(nlp), sgd=None)
    assert same_weights(before, weights(nlp))
    assert gradients(nlp)
    ours(nlp).finish_update(Adam(0.01))
    assert not same_weights(before, weights(nlp))
    assert all(not gradient.any() for gradient in gradients(nlp).values())


def test_gradients_wait_for_the_update_as_those_of_the_sum(trained: Callable[..., Language]):
    """They add up from call to call, each target as much as any other."""
    nlp = trained()
    pipe = ours(nlp)
    found = []
    for parts in ([DATA], [DATA[:1], DATA[1:]]):
        for part in parts:
            pipe.update(examples(nlp, part), sgd=None)
        found.append(gradients(nlp))
        pipe.finish_update(Adam(0.0))
    whole, added = found
    assert max(gradient.abs().max() for gradient in whole.values()) > 0.1
    for name, gradient in added.items():
        assert torch.allclose(gradient, whole[name], atol=1e-4), name


def test_mean_loss_weighs_texts_by_their_targets(trained: Callable[..., Language]):
    nlp = trained()
    pipe = ours(nlp)
    parts = [examples(nlp, [gold]) for gold in DATA]
    targets = [pipe._trees(part)[0].weight for part in parts]
    means = [pipe.get_loss(part)[0] for part in parts]
    expected = sum(mean * weight for mean, weight in zip(means, targets, strict=True)) / sum(targets)
    assert pipe.get_loss(examples(nlp))[0] == pytest.approx(expected, rel=1e-4)


def test_losses_add_up_under_the_pipe_s_name(trained: Callable[..., Language]):
    nlp = trained()
    losses: dict[str, float] = {}
    once = dict(ours(nlp).update(examples(nlp), losses=losses))["padellm_ner"]
    ours(nlp).update(examples(nlp), losses=losses)
    assert losses["padellm_ner"] == pytest.approx(2 * once, rel=1e-4)


def test_docs_that_are_not_annotated_are_left_out(trained: Callable[..., Language]):
    nlp = trained()
    gold = examples(nlp, [DATA[1]])
    missing = [
        Example.from_dict(nlp.make_doc("Jaws in Boston"), {}),
        Example.from_dict(nlp.make_doc(""), {"entities": []}),
        Example.from_dict(nlp.make_doc(" \n "), {"entities": []}),
    ]
    assert ours(nlp).get_loss([*gold, *missing])[0] == pytest.approx(ours(nlp).get_loss(gold)[0])
    before = weights(nlp)
    assert nlp.update(missing, sgd=Adam(0.1)) == {"padellm_ner": 0.0}
    assert same_weights(before, weights(nlp))


def test_gold_spans_come_before_gold_entities(trained: Callable[..., Language]):
    """A doc's span group holds nested mentions, which its entities cannot."""
    nlp = trained()
    flat = examples(nlp, [("Show me Jaws in Paris", [])])[0]
    with_group = examples(nlp, [("Show me Jaws in Paris", [])])[0]
    doc = with_group.reference
    doc.spans["sc"] = [doc.char_span(8, 12, label="movie"), doc.char_span(16, 21, label="city")]
    gold = examples(nlp, [DATA[1]])
    expected = ours(nlp).get_loss(gold)[0]
    assert ours(nlp).get_loss([with_group])[0] == pytest.approx(expected)
    assert abs(ours(nlp).get_loss([flat])[0] - expected) > 0.1


def test_frozen_pipe_keeps_its_weights(trained: Callable[..., Language]):
    nlp = trained()
    nlp.add_pipe("padellm_ner", name="second", config={"model": FRESH}, first=True)
    ours(nlp, "second").from_bytes(ours(nlp).to_bytes())
    before = weights(nlp)
    optimizer = Adam(0.05)
    with nlp.select_pipes(enable="second"):
        nlp.update(examples(nlp), sgd=optimizer)
    assert same_weights(before, weights(nlp))
    assert not same_weights(before, weights(nlp, "second"))
    nlp.update(examples(nlp), sgd=optimizer, exclude=["padellm_ner"])
    assert same_weights(before, weights(nlp))


# Sharing and copying


def test_sourced_into_another_pipeline(trained: Callable[..., Language]):
    nlp = trained()
    other = spacy.blank("en")
    other.add_pipe("sentencizer")
    other.add_pipe("padellm_ner", source=nlp)
    assert annotations(other) == annotations(nlp)
    assert other.config["components"]["padellm_ner"]["model"]["hidden_size"] == FRESH["hidden_size"]
    loaded = spacy.util.load_model_from_config(other.config)
    loaded.from_bytes(other.to_bytes())
    assert annotations(loaded) == annotations(nlp)


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        lambda nlp: pickle.loads(pickle.dumps(nlp)),
        lambda nlp: srsly.pickle_loads(srsly.pickle_dumps(nlp)),
    ],
    ids=["deepcopy", "pickle", "cloudpickle"],
)
def test_copies_are_copies(trained: Callable[..., Language], duplicate: Callable[[Language], Language]):
    nlp = trained()
    other = duplicate(nlp)
    assert annotations(other) == annotations(nlp)
    before = weights(nlp)
    ours(other).update(examples(other), sgd=Adam(0.05))
    assert not same_weights(before, weights(other))
    assert same_weights(before, weights(nlp))


def test_scorer_can_be_pickled(trained: Callable[..., Language]):
    scorer = pickle.loads(pickle.dumps(ours(trained()).scorer))
    nlp = trained()
    scored = examples(nlp)
    for example in scored:
        example.predicted = nlp(example.predicted.text)
    assert scorer(scored)["ents_f"] == 1.0


# Scores


def test_evaluate(trained: Callable[..., Language]):
    nlp = trained()
    gold = examples(nlp, [*DATA[:3], ("Show me Jaws in Paris", [(8, 12, "city")])])
    gold[0].reference.spans["sc"] = list(gold[0].reference.ents)
    found = nlp.evaluate(gold)
    assert (found["ents_p"], found["ents_r"]) == (pytest.approx(7 / 9), pytest.approx(7 / 8))
    assert found["ents_per_type"]["city"]["r"] == pytest.approx(4 / 5)
    assert found["spans_sc_f"] == 1.0
    # One city was expected in the last text and one found, though another; no movie was expected and one found.
    assert found["ents_count_acc"] == pytest.approx(7 / 8)


def test_documents_without_annotation_do_not_count(trained: Callable[..., Language]):
    nlp = trained()
    plain = [Example(nlp.make_doc(text), nlp.make_doc(text)) for text in TEXTS]
    assert nlp.evaluate(plain)["ents_count_acc"] is None
    assert nlp.evaluate([*examples(nlp), *plain])["ents_count_acc"] == 1.0


def test_scorer_of_spacy_works_too(trained: Callable[..., Language]):
    nlp = trained(scorer={"@scorers": "spacy.ner_scorer.v1"})
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1.0


def test_no_scorer(trained: Callable[..., Language]):
    assert "ents_f" not in trained(scorer=None).evaluate(examples(blank()))


def test_scorer_reads_the_group_of_the_pipe(trained: Callable[..., Language]):
    nlp = trained(spans_key="mine")
    gold = examples(nlp)
    for example in gold:
        example.reference.spans["mine"] = list(example.reference.ents)
    assert nlp.evaluate(gold)["spans_mine_f"] == 1.0


# Predicting


def test_predict_touches_no_doc(trained: Callable[..., Language]):
    nlp = trained()
    docs = [nlp.make_doc(text) for text in TEXTS]
    before = [doc.to_bytes() for doc in docs]
    found = ours(nlp).predict(docs)
    assert [doc.to_bytes() for doc in docs] == before
    ours(nlp).set_annotations(docs, found)
    assert [entities(doc) for doc in docs] == [ents for _, ents in DATA]


def test_call_and_pipe_agree(trained: Callable[..., Language]):
    nlp = trained()
    one_by_one = [nlp(text) for text in TEXTS]
    together = list(nlp.pipe(TEXTS))
    assert [spans(doc) for doc in one_by_one] == [spans(doc) for doc in together]


def test_call_changes_the_doc_in_place(trained: Callable[..., Language]):
    nlp = trained()
    doc = nlp.make_doc(TEXTS[1])
    assert ours(nlp)(doc) is doc
    assert entities(doc) == DATA[1][1]


def test_annotated_doc_survives_bytes(trained: Callable[..., Language]):
    nlp = trained(save_io=True)
    doc = nlp(TEXTS[0])
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert (entities(again), spans(again)) == (entities(doc), spans(doc))
    assert again.spans["sc"].attrs["scores"].tolist() == doc.spans["sc"].attrs["scores"].tolist()
    assert again.user_data["llm_io"] == doc.user_data["llm_io"]


def test_gpu_in_a_forked_process_p013(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    monkeypatch.setattr(shim_of(ours(nlp).model).lm, "device", torch.device("cuda"))
    monkeypatch.setattr(component.os, "getpid", lambda: -1)
    with pytest.raises(ValueError, match=r"\[P013\].*n_process"):
        nlp("A text.")


def test_tokenizer_that_cannot_be_used_p020():
    class Slow:
        is_fast = False
        eos_token = None
        eos_token_id = None

    with pytest.raises(ValueError, match=r"\[P020\].*Slow"):
        Pieces(Slow())  # type: ignore[arg-type]


def test_label_with_a_lone_surrogate_p015():
    nlp = blank()
    with pytest.raises(ValueError, match=r"\[P015\]"):
        ours(nlp).add_label("a\ud800")
    assert ours(nlp).labels == ()


@pytest.mark.parametrize("words", [3, "", " ", ["city"], "a\ud800"])
def test_label_words_that_are_none_p016(words: Any):
    nlp = blank()
    with pytest.raises(ValueError, match=r"\[P016\].*'city'"):
        ours(nlp).add_label("city", words)
    assert ours(nlp).labels == ()
