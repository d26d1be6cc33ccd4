"""Plain `generate` gives what the forest gives, for every scheme: the slow form that the forest is held against."""

from __future__ import annotations

import functools

import pytest
import spacy
import torch
from peft import LoraConfig, TaskType, get_peft_model

from benchmarks.contenders.generation import BatchCounters, Row, generate
from benchmarks.contenders.pipelines import annotate, load_pipeline
from benchmarks.contenders.staged import Asker, Given, answer_staged, time_alone
from benchmarks.corpora import Corpus, read_corpus
from benchmarks.schemes import SCHEMES
from spacy_padellm.backends.local import Text, answer_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.training.targets import grow_gold
from spacy_padellm.types import Finish, Mention, Scheme
from tests.benchmarks.documents import ENGLISH, write_documents
from tests.checkpoints import LABELS, build_lm, pieces_of, train

TEXTS = ("Japan beat Syria in Abu Dhabi .", "Mr. Cuttitta isn't in Japan", "nobody came", "Japan and Japan")
GOLD = (
    (Mention("LOC", "Japan", start=0), Mention("LOC", "Syria", 2, start=11), Mention("LOC", "Abu Dhabi", 3, start=20)),
    (Mention("PER", "Cuttitta", start=4), Mention("LOC", "Japan", start=22)),
    (),
    (Mention("LOC", "Japan", start=0), Mention("LOC", "Japan", 2, start=10)),
)


def scheme_of(name: str) -> Scheme:
    return SCHEMES[name](build_english_prompt_v1())


@functools.cache
def taught(name: str, tokenizer: str, steps: int = 60) -> LanguageModel:
    """A small model that has seen the answers often enough to give answers that end."""
    lm = build_lm("llama", pieces_of(tokenizer), hidden_size=48, initializer_range=0.05)
    trees = [grow_gold(scheme_of(name), LABELS, text, gold, lm.pieces) for text, gold in zip(TEXTS, GOLD, strict=True)]
    train(lm, trees, steps=steps, rate=1e-2)
    return lm


def forest(lm: LanguageModel, scheme: Scheme, *, replay: bool = False) -> tuple[list[list[Given]], Counters]:
    counters = Counters()
    answered = answer_texts(
        lm,
        scheme,
        LABELS,
        [Text(text, [(0, len(text))]) for text in TEXTS],
        decoding=Decoding(constrain=False),
        counters=counters,
        scripts=[functools.partial(scheme.answer, gold=gold) for gold in GOLD] if replay else None,
    )
    plain = [
        [Given(branch, answer.text, answer.finish, answer.n_pieces) for branch, answer in answers]
        for answers in answered
    ]
    return plain, counters


def staged(lm: LanguageModel, scheme: Scheme, *, replay: bool = False) -> tuple[list[list[Given]], BatchCounters]:
    counters = BatchCounters()
    scripts = [functools.partial(scheme.answer, gold=gold) for gold in GOLD] if replay else None
    with own_attention(lm, "sdpa"):
        return answer_staged(Asker(lm, scheme, LABELS), TEXTS, counters, scripts), counters


@pytest.mark.parametrize("tokenizer", ["fresh", "llama", "gemma"])
@pytest.mark.parametrize("name", SCHEMES)
def test_the_models_own_answers_are_those_of_the_forest(name: str, tokenizer: str) -> None:
    lm, scheme = taught(name, tokenizer), scheme_of(name)
    answers, _ = staged(lm, scheme)
    assert answers == forest(lm, scheme)[0]
    finishes = {given.finish for document in answers for given in document}
    assert Finish.END in finishes
    if name == "padellm":
        assert Finish.FOLLOWED in finishes
        assert sum(given.branch.ordinal > 0 for document in answers for given in document) > 3


@pytest.mark.parametrize("name", SCHEMES)
def test_answers_of_a_model_that_knows_nothing_end_at_the_same_limits(name: str) -> None:
    lm, scheme = build_lm("llama", pieces_of("fresh"), seed=3), scheme_of(name)
    answers, _ = staged(lm, scheme)
    assert answers == forest(lm, scheme)[0]
    assert Finish.LIMIT in {given.finish for document in answers for given in document}


@pytest.mark.parametrize("name", SCHEMES)
def test_replayed_answers_are_gold_and_cost_as_many_pieces_as_in_the_forest(name: str) -> None:
    lm, scheme = build_lm("llama", pieces_of("fresh")), scheme_of(name)
    answers, counters = staged(lm, scheme, replay=True)
    expected, ours = forest(lm, scheme, replay=True)
    assert answers == expected
    assert [[given.text for given in document] for document in answers] == [
        [scheme.answer(given.branch, gold) for given in document] for document, gold in zip(answers, GOLD, strict=True)
    ]
    assert (counters.answers, counters.answer_pieces) == (ours.answers, ours.answer_pieces)
    assert counters.documents == ours.documents == len(TEXTS)


def test_padellm_in_full_computes_every_prompt_and_its_padding() -> None:
    """Counted by hand from the pieces of prompts and answers: two batches, one for counts and one for mentions."""
    lm, scheme = build_lm("llama", pieces_of("fresh")), scheme_of("padellm")
    _, counters = staged(lm, scheme, replay=True)
    stages: list[list[tuple[int, int]]] = [[], []]
    for text, gold in zip(TEXTS, GOLD, strict=True):
        trunk = sum(len(pieces) for pieces in lm.pieces.encode(scheme.trunk(text))) + len(lm.pieces.start)
        for branch in scheme.ask(LABELS, text):
            answer = scheme.answer(branch, gold)
            count, question = len(lm.pieces.question(answer)), trunk + len(lm.pieces.question(branch.question))
            stages[0].append((question, count))
            for follow in scheme.follow(branch, answer):
                marker = len(lm.pieces.question(follow.question))
                stages[1].append((question + count + marker, len(lm.pieces.question(scheme.answer(follow, gold)))))
    passes = [max(answer for _, answer in stage) + 1 for stage in stages]
    widths = [max(prompt for prompt, _ in stage) for stage in stages]
    computed = sum(len(stage) * (width + steps - 1) for stage, width, steps in zip(stages, widths, passes, strict=True))
    assert (counters.steps, counters.pieces) == (sum(passes), computed)
    assert counters.pieces - counters.padding == sum(prompt + answer for stage in stages for prompt, answer in stage)
    # Every text has a row in the first batch, all but one have rows in the second.
    assert counters.document_steps == 4 * passes[0] + 3 * passes[1]


def test_each_row_has_its_own_limit_and_closer_and_padding_changes_nothing() -> None:
    lm = build_lm("llama", pieces_of("fresh"), seed=3)
    prompts = [lm.pieces.encode([text])[0] for text in TEXTS]
    with own_attention(lm, "sdpa"):
        free = [generate(lm, [Row(prompt, limit=9)], BatchCounters())[0] for prompt in prompts]
        closer = free[1][0][2]
        assert closer not in free[1][0][:2]
        limits = (9, 9, 4, 1)
        rows = [Row(prompt, limit) for prompt, limit in zip(prompts, limits, strict=True)]
        rows[1] = Row(prompts[1], 9, closer=closer)
        together = generate(lm, rows, BatchCounters())
    assert [pieces for pieces, _ in together] == [free[0][0], free[1][0][:2], free[2][0][:4], free[3][0][:1]]
    assert [finish for _, finish in together] == [Finish.LIMIT, Finish.FOLLOWED, Finish.LIMIT, Finish.LIMIT]


def test_a_model_with_an_adapter_and_settings_of_its_own_is_asked_greedily() -> None:
    lm = build_lm("llama", pieces_of("fresh"), seed=3)
    prompts = [Row(lm.pieces.encode([text])[0], limit=6) for text in TEXTS]
    with own_attention(lm, "sdpa"):
        expected = generate(lm, prompts, BatchCounters())
    lm.model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=5.0, top_k=3)
    came = lm.model.generation_config
    adapter = LoraConfig(task_type=TaskType.CAUSAL_LM, target_modules="all-linear")
    adapted = LanguageModel(get_peft_model(lm.model, adapter).eval(), lm.pieces, lm.device, lm.name)
    with own_attention(adapted, "sdpa"):
        assert generate(adapted, prompts, BatchCounters()) == expected
    assert adapted.model.get_base_model().generation_config is came


def test_alone_the_slowest_sequence_counts() -> None:
    """A clock that goes one second for every question: a count and a mention under it make two seconds."""
    lm, scheme = build_lm("llama", pieces_of("fresh")), scheme_of("padellm")
    ticks = iter(range(1000))
    taken, counters = [], BatchCounters()
    with own_attention(lm, "sdpa"):
        for text, gold in zip(TEXTS, GOLD, strict=True):
            script = functools.partial(scheme.answer, gold=gold)
            asker = Asker(lm, scheme, LABELS)
            taken.append(time_alone(asker, text, counters, lambda: float(next(ticks)), script))
    # One second for cutting the text into pieces, one for a count, one for a mention where there is any.
    assert taken == [3.0, 3.0, 2.0, 3.0]
    assert counters.answers == 4 * 3 + 7 and counters.padding == 0


def test_a_text_that_does_not_fit_is_refused_before_anything_is_computed() -> None:
    lm, scheme = build_lm("llama", pieces_of("fresh"), max_position_embeddings=8), scheme_of("padellm")
    with pytest.raises(ValueError, match=r"\[P023\]"):
        staged(lm, scheme)


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return read_corpus(write_documents(tmp_path, ENGLISH))


@pytest.mark.parametrize("named", ["ner", 'spancat={"threshold": 0.0, "max_positive": 1}'])
def test_a_factory_becomes_a_pipeline_that_knows_the_labels(corpus: Corpus, named: str) -> None:
    nlp = load_pipeline(named, corpus)
    (pipe,) = (pipe for _, pipe in nlp.pipeline)
    assert set(pipe.labels) == {"PER", "LOC"}
    docs = annotate(nlp, corpus.documents)
    assert [doc.text for doc in docs] == ["Ada met Hugo", "in Paris"]
    if named != "ner":
        assert pipe.cfg["threshold"] == 0.0
        assert all(doc.spans["sc"] for doc in docs)


def test_a_pipeline_in_a_folder_is_loaded(corpus: Corpus, tmp_path) -> None:
    spacy.blank("en").to_disk(tmp_path / "blank")
    assert load_pipeline(str(tmp_path / "blank"), corpus).pipe_names == []


@pytest.mark.parametrize(
    "named, code", [("ner={", "P133"), ("ner=3", "P133"), ("no_such_factory", "P134"), ("no/folder", "P134")]
)
def test_pipelines_that_cannot_be_had_are_named(corpus: Corpus, named: str, code: str) -> None:
    with pytest.raises(ValueError, match=rf"\[{code}\]"):
        load_pipeline(named, corpus)


def test_the_forests_attention_is_given_back() -> None:
    lm = build_lm("llama", pieces_of("fresh"))
    kept = lm.config._attn_implementation
    with own_attention(lm, "sdpa"):
        assert lm.config._attn_implementation == "sdpa"
        lm.model(input_ids=torch.tensor([[1, 2]]))
    assert lm.config._attn_implementation == kept
