"""Settings of the factory and of every registered function: wrong types, unknown names, values that mean nothing."""

from __future__ import annotations

import inspect
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import spacy
from confection import Config, ConfigValidationError
from spacy.util import registry

from spacy_padellm.pipeline.factory import DEFAULT_CONFIG
from spacy_padellm.schemes.segments import prompt_segments
from tests.pipeline.makers import FRESH, blank, examples, ours

LABELS_FILE = Path(__file__).parents[2] / "project" / "assets" / "snips" / "other_intents" / "labels.json"

WRONG: dict[str, list[Any]] = {
    "model": [3, "small"],
    "scheme": [3, "padellm"],
    "spans_key": [3, None],
    "placing": ["nearest", 3],
    "one_label_per_string": ["yes", 1],
    "overwrite_ents": ["yes", 1],
    "constrain": ["yes", 1],
    "max_answer": ["many", 1.5, True],
    "max_row": ["many", 1.5, True],
    "draft_questions": ["yes", 1],
    "draft_copies": ["many", 1.5, True],
    "draft_counts": ["yes", 1],
    "kv_bytes": ["many", 1.5, True],
    "cuda_graphs": ["yes", 1],
    "compile_layers": ["yes", 1],
    "labels_at_once": ["many", 1.5, True],
    "window": ["long", 1.5, True],
    "window_overlap": ["half", None],
    "strict": ["yes", 1],
    "weighting": ["paper", 3],
    "label_draw": [3, "few"],
    "copy_share": ["much", None],
    "text_weight": ["heavy", None],
    "count_weight": ["heavy", None],
    "save_io": ["yes", 1],
    "threshold": ["high", None],
    "labels_from_context": [3, True],
    "scorer": [3, "ner"],
}


def test_every_setting_is_fed_a_wrong_type():
    assert WRONG.keys() == DEFAULT_CONFIG.keys()


@pytest.mark.parametrize(("setting", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_factory_refuses_wrong_type(setting: str, value: object):
    with pytest.raises(ConfigValidationError, match=setting):
        spacy.blank("en").add_pipe("padellm_ner", config={setting: value})


def test_factory_refuses_unknown_setting():
    with pytest.raises(ConfigValidationError, match="unheard_of"):
        blank(unheard_of=1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_answer", 0),
        ("max_row", 0),
        ("draft_copies", -1),
        ("kv_bytes", 0),
        ("labels_at_once", 0),
        ("labels_at_once", -1),
        ("window", 0),
        ("window_overlap", -0.1),
        ("window_overlap", 0.6),
        ("copy_share", -0.5),
        ("copy_share", 1.5),
        ("count_weight", -1.0),
    ],
)
def test_factory_refuses_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'.*{value}"):
        blank(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "block"),
    [
        ("scheme", {"@misc": "spacy-padellm.EnglishPrompt.v1"}),
        ("label_draw", {"@misc": "spacy-padellm.LoRA.v1"}),
        ("model", {"@architectures": "spacy.HashEmbedCNN.v2", **dict.fromkeys(["width", "depth", "embed_size"], 8)}),
    ],
)
def test_factory_refuses_block_of_another_kind_p001(setting: str, block: dict[str, Any]):
    if setting == "model":
        block = {**block, "window_size": 1, "maxout_pieces": 2, "subword_features": False, "pretrained_vectors": None}
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'"):
        spacy.blank("en").add_pipe("padellm_ner", config={setting: block})


PROMPT = {"@misc": "spacy-padellm.EnglishPrompt.v1"}

FUNCTIONS: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("architectures", "spacy-padellm.FreshCausalLM.v1"): (
        {},
        {
            "hidden_size": 1.5,
            "n_layers": "two",
            "n_heads": None,
            "intermediate_size": [64],
            "vocab_size": True,
            "max_positions": "long",
            "rope_theta": "base",
            "device": 0,
            "seed": 1.5,
            "max_row": "long",
            "gradient_checkpointing": "sometimes",
        },
    ),
    ("architectures", "spacy-padellm.CompletionsServer.v1"): (
        {"name": "some/model", "base_url": "http://127.0.0.1:8000/v1"},
        {
            "name": 5,
            "base_url": 5,
            "revision": 5,
            "served_name": 5,
            "server": "tgi",
            "api_key_env": 5,
            "concurrency": "many",
            "timeout": "long",
            "connect_timeout": "long",
            "attempts": 1.5,
            "longest_wait": "long",
            "max_positions": "long",
            "chat": "template",
            "trust_remote_code": "yes",
        },
    ),
    ("architectures", "spacy-padellm.CausalLM.v1"): (
        {"name": "some/model"},
        {
            "name": 5,
            "revision": 5,
            "lora": "rank 8",
            "dtype": "int8",
            "quantization": "4 bits",
            "chat": "template",
            "device": 0,
            "self_contained": "yes",
            "frozen": "yes",
            "trust_remote_code": "yes",
            "max_row": "long",
            "gradient_checkpointing": "sometimes",
        },
    ),
    ("misc", "spacy-padellm.LoRA.v1"): (
        {},
        {"rank": 1.5, "alpha": "much", "dropout": "some", "target_modules": 5, "adapter": 5, "revision": 5},
    ),
    ("misc", "spacy-padellm.ChatTemplate.v1"): ({}, {"system": 5, "settings": "thinking off"}),
    ("misc", "spacy-padellm.LabelDraw.v1"): (
        {},
        {"absent": 1.5, "ratio": "some", "sampling": "fair", "dropout": "half", "shuffle": "yes"},
    ),
    ("misc", "spacy-padellm.PaDeLLM.v1"): (
        {"prompt": PROMPT},
        {
            "prompt": "english",
            "max_mentions": "many",
            "second_look": "one",
            "look_floor": "low",
            "look_weight": "heavy",
            "look_absent": "none",
            "drop_surplus": "perhaps",
            "mention_choices": "few",
            "choice_floor": "low",
        },
    ),
    ("misc", "spacy-padellm.OneStep.v1"): ({"prompt": PROMPT}, {"prompt": "english"}),
    ("misc", "spacy-padellm.AutoRegStruct.v1"): ({"prompt": PROMPT}, {"prompt": "english"}),
    ("misc", "spacy-padellm.AutoRegAug.v1"): ({"prompt": PROMPT}, {"prompt": "english", "max_nesting": "deep"}),
    ("misc", "spacy-padellm.EnglishPrompt.v1"): ({}, {"label_words": {"LOC": 5}, "repeat_text": "twice"}),
    ("misc", "spacy-padellm.ChinesePrompt.v1"): ({}, {"label_words": ["LOC"], "repeat_text": 1.5}),
    ("misc", "spacy-padellm.CompactPrompt.v1"): ({}, {"label_words": ["LOC"], "repeat_text": 1.5}),
    ("scorers", "spacy-padellm.ner_scorer.v1"): ({}, {}),
    ("readers", "spacy-padellm.read_labels.v1"): ({"path": str(LABELS_FILE)}, {"path": 5}),
    ("batchers", "spacy-padellm.batch_by_pieces.v1"): (
        {},
        {
            "size": "large",
            "window": 1.5,
            "discard_oversize": "some",
            "seed": "lucky",
            "per_token": "many",
            "per_doc": [30],
            "per_mention": None,
            "spans_key": 5,
        },
    ),
    ("augmenters", "spacy-padellm.MentionSwap.v1"): (
        {},
        {
            "share": "all",
            "final_share": "half",
            "settle_after": 1.5,
            "noise": "loud",
            "spans_key": 5,
            "seed": "lucky",
        },
    ),
}


def resolve(kind: str, name: str, settings: dict[str, Any]) -> Any:
    return registry.resolve({"block": {f"@{kind}": name, **settings}})["block"]


@pytest.mark.parametrize(("kind", "name"), FUNCTIONS)
def test_function_builds_with_its_smallest_config(kind: str, name: str):
    assert resolve(kind, name, FUNCTIONS[kind, name][0]) is not None


@pytest.mark.parametrize(
    ("kind", "name", "setting"), [(*key, setting) for key, (_, wrong) in FUNCTIONS.items() for setting in wrong]
)
def test_function_refuses_wrong_type(kind: str, name: str, setting: str):
    smallest, wrong = FUNCTIONS[kind, name]
    with pytest.raises(ConfigValidationError, match=setting):
        resolve(kind, name, {**smallest, setting: wrong[setting]})


@pytest.mark.parametrize(
    ("kind", "name", "setting", "quoted"),
    [
        ("architectures", "spacy-padellm.FreshCausalLM.v1", "hidden_size", "64"),
        ("architectures", "spacy-padellm.FreshCausalLM.v1", "rope_theta", "1e4"),
        ("architectures", "spacy-padellm.CausalLM.v1", "max_row", "64"),
        ("misc", "spacy-padellm.LoRA.v1", "rank", "8"),
        ("misc", "spacy-padellm.LoRA.v1", "alpha", "8"),
        ("misc", "spacy-padellm.LabelDraw.v1", "absent", "2"),
        ("misc", "spacy-padellm.LabelDraw.v1", "ratio", "1.5"),
        ("misc", "spacy-padellm.LabelDraw.v1", "dropout", "0.5"),
        ("misc", "spacy-padellm.PaDeLLM.v1", "max_mentions", "9"),
        ("misc", "spacy-padellm.PaDeLLM.v1", "second_look", "1"),
        ("misc", "spacy-padellm.PaDeLLM.v1", "look_weight", "0.5"),
        ("misc", "spacy-padellm.AutoRegAug.v1", "max_nesting", "9"),
        ("misc", "spacy-padellm.EnglishPrompt.v1", "repeat_text", "2"),
        ("batchers", "spacy-padellm.batch_by_pieces.v1", "size", "64"),
        ("batchers", "spacy-padellm.batch_by_pieces.v1", "per_token", "1.5"),
        ("augmenters", "spacy-padellm.MentionSwap.v1", "noise", "0.1"),
    ],
)
def test_quoted_numbers_are_no_numbers(kind: str, name: str, setting: str, quoted: str):
    with pytest.raises(ValueError, match=rf"\[P001\].*{setting}.*{quoted}"):
        resolve(kind, name, {**FUNCTIONS[kind, name][0], setting: quoted})


@pytest.mark.parametrize(("kind", "name"), FUNCTIONS)
def test_every_setting_of_every_function_is_tried(kind: str, name: str):
    assert inspect.signature(registry.get(kind, name)).parameters.keys() == FUNCTIONS[kind, name][1].keys()


@pytest.mark.parametrize(("kind", "name"), FUNCTIONS)
def test_function_refuses_unknown_setting(kind: str, name: str):
    with pytest.raises(ConfigValidationError, match="unheard_of"):
        resolve(kind, name, {**FUNCTIONS[kind, name][0], "unheard_of": 1})


def test_prompt_of_another_kind_p001():
    with pytest.raises(ValueError, match=r"\[P001\].*'prompt'.*LoRA"):
        resolve("misc", "spacy-padellm.PaDeLLM.v1", {"prompt": {"@misc": "spacy-padellm.LoRA.v1"}})


@pytest.mark.parametrize("limit", [1, 5, 99])
def test_mention_questions_are_cut_alike_whatever_the_limit(limit: int):
    scheme = {"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": PROMPT, "max_mentions": limit}
    assert "\n<mention 1>" in prompt_segments(ours(blank(scheme=scheme)).scheme, {"city": "city"})


def test_all_registered_functions_are_tried():
    points = distribution("spacy-padellm").entry_points
    kinds = {group for point in points for group in [point.group] if group not in ("spacy_factories", "spacy_cli")}
    named = {(point.group.removeprefix("spacy_"), point.name) for point in points if point.group in kinds}
    assert named <= FUNCTIONS.keys()


# Registration


def test_factory_needs_no_import():
    meta = spacy.blank("en").get_factory_meta("padellm_ner")
    assert set(meta.assigns) == {"doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"}
    assert meta.default_score_weights == {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None}


def test_config_round_trip():
    nlp = blank(placing="first", save_io=True)
    again = spacy.util.load_model_from_config(Config().from_str(nlp.config.to_str()))
    assert again.config["components"] == nlp.config["components"]
    assert ours(again).options == ours(nlp).options
    assert ours(again).scheme == ours(nlp).scheme


def test_default_config_is_filled_in():
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner")
    filled = nlp.config["components"]["padellm_ner"]
    assert {name for name in filled if name != "factory"} == DEFAULT_CONFIG.keys()
    assert filled["scheme"]["prompt"]["@misc"] == "spacy-padellm.EnglishPrompt.v1"
    assert filled["model"]["n_layers"] > 0


def test_scheme_and_prompt_are_swappable():
    prompt = {"@misc": "spacy-padellm.ChinesePrompt.v1", "label_words": {"city": "城市"}}
    nlp = blank(scheme={"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": prompt, "max_mentions": 7})
    ours(nlp).add_label("city")
    assert ours(nlp).scheme.max_mentions == 7
    assert [branch.question for branch in ours(nlp).scheme.ask({"city": ours(nlp).scheme.words("city")})] == [
        "指定NER标签:\n城市\n\n<数量>"
    ]


def test_two_pipes_in_one_pipeline_do_not_share_a_model():
    nlp = blank()
    nlp.add_pipe("padellm_ner", name="second", config={"model": {**FRESH, "seed": 3}})
    nlp.initialize(lambda: examples(nlp))
    assert ours(nlp).model is not ours(nlp, "second").model
    assert nlp.pipe_names == ["padellm_ner", "second"]
