import json

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.cli.debug import debug
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.records import Gold, Record

NLP = spacy.blank("en")
TRAIN = [Record("Ann met Bo", (Gold(0, 3, "PER"), Gold(8, 10, "PER"))), Record("ann  met bo"), Record("2times " * 9)]
DEV = [Record("Ann met Bo", (Gold(0, 3, "PER"), Gold(0, 7, "X"))), Record("2times", (Gold(0, 1, "N"),))]

CONFIG = """
[nlp]
lang = "en"
pipeline = ["ours"]
[nlp.tokenizer]
@tokenizers = "spacy.Tokenizer.v1"
[components]
[components.ours]
factory = "a_factory_that_does_not_exist"
[corpora]
[corpora.train]
@readers = "spacy.Corpus.v1"
path = {train}
[corpora.train.augmenter]
@augmenters = "spacy.lower_case.v1"
level = 1.0
[corpora.dev]
@readers = "spacy.Corpus.v1"
path = {dev}
[training]
seed = 0
"""


@pytest.fixture
def corpus(tmp_path):
    for name, records in (("train", TRAIN), ("dev", DEV)):
        to_doc_bin(records, NLP)[0].to_disk(tmp_path / f"{name}.spacy")
    return tmp_path


@pytest.fixture
def config(corpus):
    path = corpus / "config.cfg"
    paths = {name: json.dumps(str(corpus / f"{name}.spacy")) for name in ("train", "dev")}
    path.write_text(CONFIG.format(**paths), encoding="utf-8")
    return path


def run(*args):
    return CliRunner().invoke(app, ["padellm", "debug", *map(str, args)])


def test_folder(corpus):
    result = run(corpus, "--limit", "1")
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    for told in (
        "3 documents",
        "1 mentions lie off token borders",
        "1 mentions stand in doc.spans['sc'] only",
        "1 texts have more than 1 mentions of one label",
        "1 texts stood before in this corpus",
        "Labels of dev that train lacks: N, X",
        "1 texts of dev stand in train too",
    ):
        assert told in output


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        to_doc_bin(TRAIN, NLP)[0].to_disk(tmp_path / folder / "train.spacy")
    to_doc_bin(DEV, NLP)[0].to_disk(tmp_path / "two" / "dev.spacy")
    assert list(debug(tmp_path)) == ["one/train", "dev", "two/train"]


def test_file_and_json(corpus, tmp_path):
    output = tmp_path / "deep" / "found.json"
    result = run(corpus / "dev.spacy", "--output", output)
    assert result.exit_code == 0, result.output
    found = json.loads(output.read_text(encoding="utf-8"))
    assert list(found) == ["dev"]
    assert found["dev"]["labels"] == {"PER": 1, "X": 1, "N": 1}
    assert (found["dev"]["nested"], found["dev"]["unaligned"]) == (1, 1)


def test_nothing_to_look_at(tmp_path):
    to_doc_bin(TRAIN[:1], NLP)[0].to_disk(tmp_path / "a.spacy")
    assert "Nothing to look at" in run(tmp_path / "a.spacy").output


def test_empty_corpus(tmp_path):
    DocBin().to_disk(tmp_path / "a.spacy")
    result = run(tmp_path / "a.spacy")
    assert result.exit_code == 0, result.output
    assert "0 documents" in result.output


def test_config_builds_no_pipe(config):
    found = debug(config)
    assert {name: len(one.texts) for name, one in found.items()} == {"train": 2, "dev": 2}
    assert found["train"].docs == 3
    assert found["train"].longest[2].begins == "Ann met Bo", "training would lower it"


def test_config_overrides(config, corpus):
    result = run(config, "--corpora.dev.path", corpus / "train.spacy")
    assert result.exit_code == 0, result.output
    assert result.output.count("3 documents") == 2


def test_spans_key_and_lang(corpus):
    assert debug(corpus / "dev.spacy", spans_key="none")["dev"].nested == 0
    # The multi-language tokenizer knows no rules for units.
    assert debug(corpus / "dev.spacy", lang="xx")["dev"].unaligned == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"not a DocBin at all", b"\x78\x9c\x03\x00\x00\x00\x00\x01"])
def test_broken_spacy_file(tmp_path, content):
    (tmp_path / "a.spacy").write_bytes(content)
    result = run(tmp_path / "a.spacy")
    assert result.exit_code == 1
    assert "[P109]" in result.output and "a.spacy" in result.output.replace("\n", "")


def test_truncated_spacy_file(corpus):
    whole = (corpus / "train.spacy").read_bytes()
    (corpus / "train.spacy").write_bytes(whole[: len(whole) // 2])
    assert "[P109]" in run(corpus / "train.spacy").output


def test_path_without_corpora(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.cfg").write_text('[nlp]\nlang = "en"\n')
    (tmp_path / "a.txt").write_text("")
    for name in ("empty", "a.cfg", "a.txt"):
        result = run(tmp_path / name)
        assert result.exit_code == 1
        assert "[P110]" in result.output
