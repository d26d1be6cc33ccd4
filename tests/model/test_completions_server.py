"""A model on a server finds what the same model finds here, and what goes wrong on the way is not lost."""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from benchmarks.serving import llama_cpp, transformers_serve
from spacy_padellm.backends.dialects import DIALECTS
from spacy_padellm.backends.local import Text
from spacy_padellm.backends.remote import stream_remote
from spacy_padellm.backends.served import ServedModel, Terms
from spacy_padellm.backends.server import Access, Server, _retry_after
from spacy_padellm.cli.evaluate import evaluate
from spacy_padellm.engine.checkpoint import Reference, load_pieces
from spacy_padellm.engine.counters import Counters
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.metrics.calibration import Calibration
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.gguf import FILE, write_gguf
from spacy_padellm.pipeline.export import export_merged, export_served
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.types import Branch
from tests.checkpoints import pieces_of
from tests.pipeline.makers import TEXTS, annotations, blank, block, entities, examples, ours, spans, train, write_docs
from tests.servers import (
    StandIn,
    another_model,
    cut_short,
    gone,
    no_completion,
    no_gzip,
    no_json,
    slow,
    status,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*W001", "ignore:.*W080", "ignore:.*W082")

MORE = [*TEXTS, "Is Paris in Boston?", "", "Show me Jaws in Jaws in Paris\nParis", 'Is "Jaws" \\ in Boston']


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model as other engines read it, and as a pipeline in `pipeline` beside it."""
    folder = tmp_path_factory.mktemp("served") / "merged"
    folder.mkdir()
    nlp = train(blank())
    nlp.to_disk(folder.parent / "pipeline")
    export_merged(nlp, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_gguf(folder, load_pieces(Reference(str(folder))), folder.parent / FILE, name="tiny", dtype="float32")
    return folder


@pytest.fixture
def local(merged: Path) -> Language:
    return spacy.load(merged.parent / "pipeline")


@pytest.fixture
def stand_in(merged: Path) -> Iterator[StandIn]:
    server = StandIn(merged, load_pieces(Reference(str(merged)))).start()
    yield server
    server.stop()


def served(merged: Path, url: str, *, settings: dict[str, Any] | None = None, **model: Any) -> Language:
    """A pipeline that asks a server, with waits that a test has time for."""
    architecture = {
        "@architectures": "spacy-padellm.CompletionsServer.v1",
        "name": str(merged),
        "base_url": url,
        "longest_wait": 0.05,
        **model,
    }
    nlp = blank(architecture, **(settings or {}))
    nlp.initialize(lambda: examples(nlp))
    return nlp


def found(nlp: Language, texts: list[str] = MORE, **how: Any) -> list[Any]:
    return [(spans(doc), entities(doc)) for doc in nlp.pipe(texts, **how)]


# The same as here


def test_llama_cpp_finds_the_same(merged: Path, local: Language):
    with llama_cpp(merged.parent / FILE) as url:
        nlp = served(merged, url)
        assert ours(nlp).model.name == "padellm_served_lm"
        both = [annotations(one, MORE) for one in (local, nlp)]
        assert [one[:2] for one in both[0]] == [one[:2] for one in both[1]]
        for (_, _, here), (_, _, there) in zip(*both, strict=True):
            assert there == pytest.approx(here, abs=2e-3)
        # A text's pieces are computed once: its questions' pieces are all that comes on top.
        assert ours(nlp).counters.pieces < 1.3 * ours(local).counters.pieces + 100


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("transformers.cli") is None
    or importlib.util.find_spec("transformers.cli.serving") is None,
    reason="transformers 5 has `serve` with /v1/completions",
)
def test_transformers_serve_finds_the_same(merged: Path, local: Language, tmp_path: Path):
    with transformers_serve(merged, tmp_path / "log") as url:
        nlp = served(merged, url, served_name=str(merged))
        with pytest.warns(UserWarning, match=r"W081.*numbers of pieces.*no probabilities.*hold mentions"):
            assert found(nlp, TEXTS) == found(local, TEXTS)
        assert "scores" not in nlp(TEXTS[0]).spans["sc"].attrs


@pytest.mark.parametrize("owner", ["vllm", "sglang"])
def test_a_stand_in_finds_the_same(owner: str, merged: Path, local: Language, stand_in: StandIn):
    stand_in.owner = owner
    nlp = served(merged, stand_in.url)
    here, there = annotations(local, TEXTS), annotations(nlp, TEXTS)
    assert [one[:2] for one in here] == [one[:2] for one in there]
    for (_, _, one), (_, _, other) in zip(here, there, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    _, first, *_ = stand_in.seen
    pieces = shim_of(ours(nlp).model).backend.pieces
    assert isinstance(first["prompt"], list) and first["temperature"] == 0
    assert first["repetition_penalty"] == 1.0
    assert first["stop_token_ids"] == [pieces.end, pieces.question("\n<mention 1>")[0]]
    guided = [one for one in stand_in.seen if "ebnf" in one or "structured_outputs" in one]
    assert guided and all(("ebnf" in one) == (owner == "sglang") for one in guided)


def test_without_probabilities_there_are_no_scores(merged: Path, local: Language, stand_in: StandIn):
    stand_in.owner, stand_in.tells = "me", False
    nlp = served(merged, stand_in.url, settings={"save_io": True})
    with pytest.warns(UserWarning, match=r"W081.*tells no probabilities"):
        (doc,) = nlp.pipe(TEXTS[:1])
    assert spans(doc) == spans(local(TEXTS[0])) != []
    assert not {"scores", "count_scores", "confidences"} & {*doc.spans["sc"].attrs}
    assert [line["probability"] for line in doc.user_data["llm_io"]["padellm_ner"]] == [None] * 4
    assert {limb.label for limb in ours(nlp).trace(doc).trees[0].limbs} == {"city", "movie"}


@pytest.mark.parametrize(
    ("settings", "calibrated"), [({"threshold": 0.5}, False), ({"one_label_per_string": True}, False), ({}, True)]
)
@pytest.mark.filterwarnings("ignore:.*W081")
def test_what_needs_probabilities_p080(settings: dict[str, Any], calibrated: bool, merged: Path, stand_in: StandIn):
    stand_in.owner, stand_in.tells = "me", False
    nlp = served(merged, stand_in.url, settings=settings)
    if calibrated:
        ours(nlp).calibration = Calibration(1.0, 0.0)
    with pytest.raises(ValueError, match="P080"):
        nlp(TEXTS[0])


def test_a_threshold_with_probabilities(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url, settings={"threshold": 1.0})
    doc = nlp(TEXTS[0])
    assert spans(doc) == [] and len(doc.spans["sc"].attrs["below_threshold"]) == 2


@pytest.mark.filterwarnings("ignore:.*W081")
def test_a_server_that_takes_text_only(merged: Path, local: Language, stand_in: StandIn):
    stand_in.takes_pieces, stand_in.owner = False, "me"
    nlp = served(merged, stand_in.url)
    assert found(nlp, TEXTS) == found(local, TEXTS)
    assert all(isinstance(one["prompt"], str) for one in stand_in.seen[1:])


@pytest.mark.filterwarnings("ignore:.*W081")
@pytest.mark.parametrize("tokenizer", ["llama", "llama3", "chatml", "gpt2"])
def test_a_prompt_as_text(tokenizer: str):
    """It is cut into the same pieces again, with the one in front that servers put there, and with all turns."""
    pieces = pieces_of(tokenizer)
    model = ServedModel(pieces, Access("http://127.0.0.1:9/v1"), name="tiny", max_positions=64)
    question = PaDeLLM(build_english_prompt_v1()).ask({"city": "city"})[0]
    prompt = [*pieces.start, *pieces.question("text:\n"), *pieces.ask(question)]
    text = model.prompt(Terms("tiny", "tiny", DIALECTS["plain"], False, False, 64), prompt)
    assert isinstance(text, str) and "entity type:" in text
    assert ("<|im_start|>" in text) == (pieces.turns is not None)
    tokenizer_there = pieces.tokenizer
    begins = [tokenizer_there.bos_token_id] if pieces.start[:1] == (tokenizer_there.bos_token_id,) else []
    assert begins + tokenizer_there(text, add_special_tokens=False).input_ids == prompt


def test_prompts_that_are_cut_otherwise_w082(merged: Path, stand_in: StandIn):
    stand_in.takes_pieces, stand_in.owner = False, "me"
    complete = stand_in.complete
    stand_in.complete = lambda body: {**complete(body), "usage": {"prompt_tokens": 3}}  # type: ignore[method-assign]
    nlp = served(merged, stand_in.url)
    with pytest.warns(UserWarning, match=r"W082.*cut 2 of 2 prompts"):
        nlp("nothing here")


def test_mentions_are_held_to_the_text(merged: Path):
    """A half-trained model copies badly; held to the text, it loses nothing."""
    with llama_cpp(merged.parent / FILE) as url:
        texts = ["Is The Jaws playing in Rome?", "Show me Paris in Jaws, Ghost!", "Grüße: Jaws in Zürich"]
        lost = {}
        for constrain in (True, False):
            nlp = served(merged, url, settings={"constrain": constrain})
            docs = [*nlp.pipe(texts)]
            lost[constrain] = sum(len(doc.spans["sc"].attrs["unplaced"]) for doc in docs)
        assert lost[True] == 0 < lost[False]


def test_characters_of_several_pieces_and_nul(merged: Path):
    """Whatever a model would rather say, it answers with a string of the text, and that is read as it was written."""
    mention = Branch("\n<mention 1>", "movie", 1, copies=True)
    scheme: Any = SimpleNamespace(trunk=lambda text: [text], ask=lambda *_: [mention], follow=lambda *_: [])
    strings = ["🦈🎬", "泰坦尼克号", "Jaws\0 Paris in\0", "\0"]
    texts = [Text(one, [found.span() for found in re.finditer(r"\S+", one)]) for one in strings]
    with llama_cpp(merged.parent / FILE) as url:
        model = shim_of(ours(served(merged, url)).model).backend
        asked = stream_remote(model, scheme, {}, texts, decoding=Decoding(), counters=Counters(), in_flight=1)
        with pytest.warns(UserWarning, match="W083"):
            answers = [answered[0].answer.text for _, answered in asked if isinstance(answered, list)]
    assert answers[:3] == ["🦈🎬", "泰坦尼克号", "Paris"]
    assert len(answers) == 4


# Labels, windows and streams


def test_labels_of_a_document(merged: Path, local: Language, stand_in: StandIn):
    nlp = served(merged, stand_in.url)
    for one in (local, nlp):
        ours(one).set_labels({"movie": "movie"})
    assert found(nlp, TEXTS) == found(local, TEXTS)


def test_long_texts_are_read_in_windows(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url)
    text = "Show me Jaws in Paris . " * 25
    with pytest.warns(UserWarning, match="W010"):
        doc = nlp(text)
    assert len(doc.spans["sc"].attrs["windows"]) > 1
    # What the server says bounds a text, too.
    assert shim_of(ours(nlp).model).backend.max_positions == 256
    strict = served(merged, stand_in.url, settings={"strict": True}, max_positions=40)
    with pytest.raises(ValueError, match="P023"):
        strict(text)


def test_documents_and_requests_at_once(merged: Path, local: Language, stand_in: StandIn):
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    expected = found(local, texts)
    stand_in.always = slow(0.02)
    for concurrency, at_once in ((1, 1), (6, 6)):
        stand_in.most_at_once = 0
        nlp = served(merged, stand_in.url, concurrency=concurrency)
        assert found(nlp, texts, batch_size=8) == expected
        assert stand_in.most_at_once == at_once
    counters = ours(nlp).counters
    assert counters.documents == len(texts) and counters.steps == counters.answers > 40


def test_the_first_question_goes_ahead_where_prefixes_are_kept(merged: Path, stand_in: StandIn):
    """With one text in flight, the second question is asked when the first is answered; llama.cpp: one by one."""
    at_once: dict[str, list[int]] = {}
    stand_in.always = slow(0.05)
    for kind in ("vllm", "plain", "llama.cpp"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nlp = served(merged, stand_in.url, server=kind)
            for text in ("", "nothing here", "Paris Paris and Jaws"):
                stand_in.most_at_once = 0
                nlp(text)
                at_once.setdefault(kind, []).append(stand_in.most_at_once)
    assert at_once == {"vllm": [1, 1, 3], "plain": [1, 2, 3], "llama.cpp": [1, 1, 1]}


def test_documents_that_come_as_others_are_on_their_way(merged: Path, local: Language, stand_in: StandIn):
    from spacy_padellm.engine.stream import Pause

    nlp = served(merged, stand_in.url)

    def source() -> Iterator[Doc | Pause]:
        for text in TEXTS:
            yield Pause.NOTHING_YET
            yield nlp.make_doc(text)

    told = {doc.text: (spans(doc), failure) for doc, failure in ours(nlp).serve(source(), batch_size=2)}
    assert told == {text: (spans(local(text)), None) for text in TEXTS}


def test_a_stream_that_is_left(
    merged: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Nobody waits for further attempts of a request that nobody waits for."""
    nlp = served(merged, stand_in.url, attempts=1000, longest_wait=60.0, concurrency=2)
    nlp("nothing here")
    monkeypatch.setattr(StandIn, "begin", _failing_for("Boston", status(503, Retry_After="60")))
    stream = ours(nlp).serve(map(nlp.make_doc, ["nothing here", "Is it on in Boston?"]), batch_size=2)
    assert next(stream)[1] is None
    begun = time.monotonic()
    while not caplog.records and time.monotonic() - begun < 30:
        time.sleep(0.01)
    stream.close()
    assert time.monotonic() - begun < 30
    while any(thread.name.startswith("padellm-server") for thread in threading.enumerate()):
        assert time.monotonic() - begun < 30
        time.sleep(0.01)
    assert nlp("nothing here").has_annotation("ENT_IOB")


def test_a_stream_that_ends_ends_no_other(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url)
    ends, goes_on = (ours(nlp).pipe(map(nlp.make_doc, texts), batch_size=1) for texts in (TEXTS[:1], TEXTS[:2]))
    next(goes_on)
    assert len([*ends]) == 1
    stand_in.faults.append(status(503))
    assert len([*goes_on]) == 1


def _failing_for(word: str, fault: Any) -> Any:
    """A stand-in's `begin` that answers requests about texts with a word by a fault."""
    begin = StandIn.begin

    def chosen(self: StandIn, body: dict[str, Any], headers: dict[str, str]) -> Any:
        found = begin(self, body, headers)
        return fault if _holds(self, body, word) else found

    return chosen


# Saving


def test_it_is_saved_without_weights(merged: Path, local: Language, stand_in: StandIn, tmp_path: Path):
    nlp = served(merged, stand_in.url)
    nlp.to_disk(tmp_path / "one")
    assert not [*(tmp_path / "one").rglob("*.safetensors")]
    again = spacy.load(tmp_path / "one")
    bytes_again = served(merged, stand_in.url).from_bytes(nlp.to_bytes())
    assert found(again, TEXTS) == found(bytes_again, TEXTS) == found(local, TEXTS)
    (tmp_path / "one" / "padellm_ner" / "model" / "served.json").write_text("{}")
    with pytest.raises(ValueError, match="P027"):
        spacy.load(tmp_path / "one")


def test_a_pipeline_is_exported_to_a_server(local: Language, merged: Path, stand_in: StandIn, tmp_path: Path):
    ours(local).set_labels({"movie": {"words": "movie", "threshold": 0.1}})
    export_served(local, tmp_path / "out", url=stand_in.url, served_name="tiny")
    assert not [*(tmp_path / "out").rglob("*.safetensors")]
    nlp = spacy.load(tmp_path / "out")
    assert ours(nlp).label_data == ours(local).label_data
    assert found(nlp, TEXTS) == found(local, TEXTS)
    export_served(nlp, tmp_path / "again", url=stand_in.url)
    assert found(spacy.load(tmp_path / "again"), TEXTS) == found(local, TEXTS)
    with pytest.raises(ValueError, match=r"P001.*base_url"):
        export_served(local, tmp_path / "no", url="localhost:8000")


def test_it_is_evaluated_like_any_other(local: Language, merged: Path, stand_in: StandIn, tmp_path: Path):
    export_served(local, tmp_path / "served", url=stand_in.url, served_name="tiny")
    docs = write_docs(tmp_path / "gold.spacy", group="sc")
    found = evaluate(tmp_path / "served", docs, against=merged.parent / "pipeline", samples=10)
    for part in ("spans", "ents", "counts"):
        assert found[part] == found["against"][part]
    assert 0 < found["spans"]["f"] and stand_in.seen


def test_it_is_not_trained_nor_exported_p078(merged: Path, tmp_path: Path):
    nlp = served(merged, "http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="P078"):
        nlp.update(examples(nlp))
    with pytest.raises(ValueError, match="P078"):
        export_merged(nlp, tmp_path / "merged")
    with pytest.raises(ValueError, match="P010"):
        blank(nlp.config["components"]["padellm_ner"]["model"])("text")


@pytest.mark.filterwarnings("ignore:.*W006")
def test_several_processes(merged: Path, local: Language, stand_in: StandIn):
    nlp = served(merged, stand_in.url)
    assert found(nlp, TEXTS[:1]) == found(local, TEXTS[:1])
    assert found(nlp, TEXTS, n_process=2, batch_size=2) == found(local, TEXTS)


# Settings


def test_the_key_is_the_variable_s(merged: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TINY_KEY", "secret")
    nlp = served(merged, stand_in.url, api_key_env="TINY_KEY")
    nlp("nothing here")
    assert {one["authorization"] for one in stand_in.headers} == {"Bearer secret"}
    assert "secret" not in nlp.config.to_str()
    monkeypatch.delenv("TINY_KEY")
    with pytest.raises(ValueError, match=r"P076.*TINY_KEY.*not set"):
        served(merged, stand_in.url, api_key_env="TINY_KEY")("nothing here")


def test_the_key_is_not_told(
    merged: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("TINY_KEY", "secret\n")
    nlp = served(merged, stand_in.url, api_key_env="TINY_KEY", attempts=2)
    nlp("nothing here")
    assert {one["authorization"] for one in stand_in.headers} == {"Bearer secret"}
    for code in (503, 401):
        stand_in.always = status(code, told="no such key: secret")
        with pytest.raises(ValueError, match=r"P07[39].*no such key: \*\*\*"):
            nlp("nothing here")
    for key in ("sec ret", "sec\nret", "schlüssel"):
        monkeypatch.setenv("TINY_KEY", key)
        with pytest.raises(ValueError, match=r"P076.*TINY_KEY.*holds") as told:
            served(merged, stand_in.url, api_key_env="TINY_KEY")("nothing here")
        assert key not in str(told.value)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base_url": "127.0.0.1"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://127.0.0.1:x/v1"}, "base_url.*Invalid port"),
        ({"base_url": "http://127.0.0.1:9/v1?api-key=secret"}, "base_url.*api_key_env.*got 'one with"),
        ({"base_url": "http://ada:secret@127.0.0.1:9/v1"}, "base_url.*api_key_env.*got 'one with"),
        ({"concurrency": 0}, "concurrency"),
        ({"attempts": 0}, "attempts"),
        ({"timeout": 0}, "timeout"),
        ({"connect_timeout": 0.0}, "connect_timeout"),
        ({"longest_wait": -1.0}, "longest_wait"),
        ({"max_positions": 0}, "max_positions"),
    ],
)
def test_settings_out_of_range_p001(settings: dict[str, Any], told: str, merged: Path):
    with pytest.raises(ValueError, match=f"P001.*{told}"):
        served(merged, **{"url": "http://127.0.0.1:9/v1", **{"settings": {}}, **_named(settings)})


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    return {("url" if name == "base_url" else name): value for name, value in settings.items()}


def test_without_the_packages_p070(merged: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(ValueError, match=r"P070.*spacy-padellm\[server\]"):
        served(merged, "http://127.0.0.1:9/v1")


def test_further_answers_need_the_model_here_p077(merged: Path, stand_in: StandIn):
    scheme = {**block("PaDeLLM"), "second_look": 1}
    with pytest.raises(ValueError, match=r"P077.*second_look"):
        served(merged, stand_in.url, settings={"scheme": scheme})("nothing here")


# What goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        gone,
        cut_short,
        no_gzip,
        no_json,
        no_completion,
        status(429, Retry_After="0"),
        status(500),
        status(503),
        slow(4.0),
    ],
    ids=["gone", "cut", "gzip", "no JSON", "no completion", "429", "500", "503", "slow"],
)
def test_what_passes_is_asked_again(fault: Any, merged: Path, local: Language, stand_in: StandIn):
    """Two failures in the middle: nothing is lost, nothing is there twice, nothing is told but by the log."""
    nlp = served(merged, stand_in.url, timeout=2.0)
    stand_in.faults.extend([None, None, fault, None, fault])
    assert found(nlp, [*TEXTS, ""]) == found(local, [*TEXTS, ""])
    counters = ours(nlp).counters
    assert stand_in.n_asked == counters.answers + 2 + 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (gone, "P073.*RemoteProtocolError|P073.*ReadError"),
        (cut_short, "P073"),
        (no_json, "P073.*no JSON.*busy"),
        (no_completion, "P073.*P074"),
        (status(429, Retry_After="0"), "P073.*status 429: not now"),
        (status(500), "P073.*status 500"),
        (slow(4.0), "P073.*ReadTimeout"),
        (status(400), "P079.*status 400: not now"),
        (status(401), "P079.*status 401"),
        (another_model, "P075.*'tiny' was asked and 'other'"),
    ],
    ids=["gone", "cut", "no JSON", "no completion", "429", "500", "slow", "400", "401", "other model"],
)
def test_what_does_not_pass_goes_to_the_error_handler(
    fault: Any, code: str, merged: Path, local: Language, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
):
    """The texts of one label's question fail, the others are as ever."""
    nlp = served(merged, stand_in.url, timeout=2.0, attempts=2, concurrency=1)
    failed: list[tuple[str, str]] = []
    ours(nlp).set_error_handler(lambda name, pipe, docs, error: failed.extend((doc.text, str(error)) for doc in docs))
    nlp("nothing here")
    monkeypatch.setattr(StandIn, "begin", _failing_for("Boston", fault))
    docs = [*nlp.pipe(TEXTS)]
    assert [doc.text for doc in docs] == TEXTS[1:]
    assert [spans(doc) for doc in docs] == [spans(local(text)) for text in TEXTS[1:]]
    ((text, told),) = failed
    assert text == TEXTS[0]
    assert re.search(code, told), told


def _holds(server: StandIn, body: dict[str, Any], word: str) -> bool:
    return word in server.pieces.tokenizer.decode(body["prompt"])


def test_a_server_that_comes_back(merged: Path, local: Language, stand_in: StandIn):
    """It goes away in the middle of a stream and is started again at the same place."""
    nlp = served(merged, stand_in.url, attempts=60, longest_wait=0.3)
    port = int(stand_in.url.split(":")[2].split("/")[0])
    stand_in.always = slow(0.02)
    docs = []
    for number, doc in enumerate(nlp.pipe(TEXTS * 4, batch_size=4)):
        docs.append(spans(doc))
        if number == 2:
            stand_in.stop()
            threading.Timer(0.6, lambda: stand_in.start(port)).start()
    assert docs == [spans(local(text)) for text in TEXTS * 4]


def test_a_server_that_stays_away(merged: Path, stand_in: StandIn):
    """After three texts without an answer further requests are made once each, until one is answered."""
    nlp = served(merged, stand_in.url, attempts=4, concurrency=1)
    ours(nlp).set_error_handler(lambda *_: None)
    nlp("nothing here")
    asked, texts = stand_in.n_asked, ["nothing here"] * 10
    stand_in.always = status(503)
    assert list(nlp.pipe(texts, batch_size=1)) == []
    assert stand_in.n_asked - asked == 3 * 4 + 7
    # The first four texts as before; the fifth is answered, so the sixth is asked about in earnest again.
    asked = stand_in.n_asked
    stand_in.faults.extend([*[status(503)] * (3 * 4 + 1), None, None])
    assert len(list(nlp.pipe(texts[:6], batch_size=1))) == 1
    assert stand_in.n_asked - asked == 3 * 4 + 1 + 2 + 4


def test_nobody_waits_for_what_is_under_way(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url, concurrency=2)
    nlp("nothing here")
    stand_in.faults.extend([None, None, slow(20.0)])
    stream = nlp.pipe(["nothing here", TEXTS[0]], batch_size=2)
    next(stream)
    begun = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 10


def test_a_wait_that_the_server_names(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url, longest_wait=5.0)
    nlp("nothing here")
    stand_in.faults.append(status(429, Retry_After="1"))
    begun = time.monotonic()
    nlp("nothing here")
    assert 0.9 < time.monotonic() - begun < 4.5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("1", 1.0), ("900", 5.0), ("inf", 5.0), ("-3", 0.0), ("nan", 0.0), ("Fri, 27 Nov 2026 08:00:00 GMT", None)],
)
def test_no_server_names_a_wait_without_end(said: str, seconds: float | None):
    assert _retry_after({"retry-after": said}, 5.0) == seconds
    assert _retry_after({}, 5.0) is None


def test_attempts_are_logged(merged: Path, stand_in: StandIn, caplog: pytest.LogCaptureFixture):
    nlp = served(merged, stand_in.url)
    stand_in.faults.extend([None, status(503)])
    nlp("nothing here")
    (told,) = [one.getMessage() for one in caplog.records if one.name == "spacy_padellm.backends.server"]
    assert "status 503: not now" in told


# What is found when it is first asked


def test_nobody_there_p072(merged: Path):
    nlp = served(merged, "http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(ValueError, match=r"P072.*ConnectError"):
        nlp("text")
    failed: list[Any] = []
    ours(nlp).set_error_handler(lambda name, pipe, docs, error: failed.extend(docs))
    assert [*nlp.pipe(TEXTS)] == [] and len(failed) == len(TEXTS)


def test_an_address_without_models_p072(merged: Path, stand_in: StandIn):
    with pytest.raises(ValueError, match=r"P072.*P079.*404.*'base_url' ends before"):
        served(merged, stand_in.url.removesuffix("/v1"))("nothing here")


def test_which_model_p072(merged: Path, stand_in: StandIn):
    with pytest.raises(ValueError, match=r"P072.*no model 'another', but tiny"):
        served(merged, stand_in.url, served_name="another")("text")
    one = stand_in.models()["data"][0]
    stand_in.models = lambda: {"data": [one, {**one, "id": "lora"}]}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"P072.*2 models \(tiny, lora\).*served_name"):
        served(merged, stand_in.url)("text")
    nlp = served(merged, stand_in.url, served_name="lora")
    stand_in.name = "lora"
    nlp("nothing here")
    assert {body["model"] for body in stand_in.seen} == {"lora"}


def test_no_completions_p072(merged: Path, stand_in: StandIn):
    stand_in.always = status(404)
    with pytest.raises(ValueError, match=r"P072.*P079.*404"):
        served(merged, stand_in.url)("text")


def test_another_tokenizer_p075(merged: Path, stand_in: StandIn):
    complete = stand_in.complete
    stand_in.complete = lambda body: {**complete(body), "usage": {"prompt_tokens": 99}}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"P075.*pieces is 99 there"):
        served(merged, stand_in.url)("text")

    def renamed(body: dict[str, Any]) -> dict[str, Any]:
        told = complete(body)
        told["choices"][0]["logprobs"]["tokens"] = ["qwertz"]
        return told

    stand_in.complete = renamed  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"P075.*'qwertz' there"):
        served(merged, stand_in.url)("text")
    one = {**stand_in.models()["data"][0], "meta": {"n_vocab": 20}}
    stand_in.models = lambda: {"data": [one]}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"P075.*20 pieces"):
        served(merged, stand_in.url)("text")


def test_it_is_first_asked_when_a_text_is(merged: Path, stand_in: StandIn):
    nlp = served(merged, stand_in.url)
    assert stand_in.n_asked == 0
    nlp("nothing here")
    assert stand_in.n_asked == 3  # one of them to see how it answers
    nlp("nothing here")
    assert stand_in.n_asked == 5


def test_a_server_is_opened_anew_in_another_process(merged: Path, monkeypatch: pytest.MonkeyPatch):
    model = ServedModel(
        load_pieces(Reference(str(merged))), Access("http://127.0.0.1:9/v1"), name="tiny", max_positions=64
    )
    before = model.server
    assert model.server is before
    monkeypatch.setattr(Server, "is_ours", property(lambda self: False))
    assert model.server is not before
    assert isinstance(pickle.dumps(model.access), bytes)
