import json

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.cli.debug import debug
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.records import Gold, Record
from tests.checkpoints import write_checkpoint

NLP = spacy.blank("en")
NAMES = [(0, 3), (8, 10), (12, 14), (16, 18), (23, 25)]
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
    often = Record("Ann met Bo, Cy, Di and Ed", tuple(Gold(*span, "PER") for span in NAMES))
    to_doc_bin([often], NLP)[0].to_disk(tmp_path / "a.spacy")
    assert "Nothing to look at" in run(tmp_path / "a.spacy").output


def test_empty_corpus(tmp_path):
    DocBin().to_disk(tmp_path / "a.spacy")
    result = run(tmp_path / "a.spacy")
    assert result.exit_code == 0, result.output
    assert "0 documents" in result.output


def test_config_builds_no_pipe(config):
    found = debug(config)
    assert {name: len(one.findings.texts) for name, one in found.items()} == {"train": 2, "dev": 2}
    assert found["train"].findings.docs == 3
    assert found["train"].findings.longest[2].begins == "Ann met Bo", "training would lower it"


def test_config_overrides(config, corpus):
    result = run(config, "--corpora.dev.path", corpus / "train.spacy")
    assert result.exit_code == 0, result.output
    assert result.output.count("3 documents") == 2


def test_spans_key_and_lang(corpus):
    assert debug(corpus / "dev.spacy", spans_key="none")["dev"].findings.nested == 0
    # The multi-language tokenizer knows no rules for units.
    assert debug(corpus / "dev.spacy", lang="xx")["dev"].findings.unaligned == 1


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


# What is suspect to this component


def write(path, *records):
    to_doc_bin(records, NLP)[0].to_disk(path)
    return path


def test_suspects_are_told_with_what_they_mean(tmp_path):
    file = write(
        tmp_path / "a.spacy",
        Record("Rome and Rome and Bonn", (Gold(0, 4, "city"), Gold(18, 22, "city"), Gold(18, 22, "City "))),
        Record("New York Times Square", (Gold(0, 14, "paper"), Gold(9, 21, "place"))),
        Record("Paris", (Gold(0, 5, "city"),)),
    )
    output = tmp_path / "found.json"
    shown = " ".join(run(file, "--output", output).output.split())
    for told in (
        '1 occurrences of annotated strings are not annotated: gaps, or a reason for placing = "strict"',
        "'Rome' (city) 1 of 2",
        "1 strings have several labels in one text: leave one_label_per_string off: 'Bonn': City , city",
        "1 mentions cross another one",
        "1 mentions cannot be held by an answer of AutoRegAug",
        "1 mentions are the whole text",
        "4 labels have fewer than 5 mentions",
        "and are asked about one by one: City , city",
    ):
        assert " ".join(told.split()) in shown
    found = json.loads(output.read_text(encoding="utf-8"))["a"]
    assert found["repeated"] == [{"label": "city", "string": "Rome", "annotated": 1, "occurs": 2}]
    assert found["gaps"] == {"city": 1}
    assert found["alike_labels"] == [["City ", "city"]]
    assert found["rare_labels"] == {"City ": 1, "city": 3, "paper": 1, "place": 1}
    assert (found["two_labels"], found["crossing"], found["unmarkable"], found["whole_texts"]) == (1, 1, 1, 1)
    assert found["examples"]["crossing"] == ["place: 'Times Square'"]
    assert found["pieces"] is None


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    return write_checkpoint(folder)


LONG = Record("Ada met Hugo in Paris . " * 40, (Gold(0, 3, "person"), Gold(8, 700, "person")))


def test_pieces(tmp_path, checkpoint):
    file = write(tmp_path / "a.spacy", LONG, Record("Ada", (Gold(0, 3, "person"),)))
    output = tmp_path / "found.json"
    result = run(file, "--tokenizer", checkpoint, "--window", "60", "--output", output)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.output.split())
    assert "1 texts have more than 60 pieces: they are read in" in shown
    assert "1 mentions lie whole in no window" in shown
    found = json.loads(output.read_text(encoding="utf-8"))["a"]["pieces"]
    assert (found["in_windows"], found["cut_off"], found["limit"]) == (1, 1, 60)
    assert found["windows"] > 1 and found["longest"][0]["pieces"] > 60
    assert found["longest"][0]["begins"].startswith("Ada met") and len(found["longest"]) == 2


def test_positions_of_the_model_are_a_limit(tmp_path, checkpoint):
    file = write(tmp_path / "a.spacy", LONG)
    (reach,) = [corpus.reach for corpus in debug(file, tokenizer=checkpoint).values()]
    positions = json.loads((checkpoint / "config.json").read_text())["max_position_embeddings"]
    assert reach.positions == positions and 0 < reach.limit < positions
    assert reach.in_windows == 1
    longer = write_checkpoint(tmp_path / "longer", max_position_embeddings=8192)
    assert debug(file, tokenizer=longer)["a"].reach.in_windows == 0


def test_tokenizer_and_window_of_a_config(config, checkpoint, corpus):
    ours = f"""
[components.padellm_ner]
factory = "padellm_ner"
window = 7
[components.padellm_ner.model]
@architectures = "spacy-padellm.CausalLM.v1"
name = {json.dumps(str(checkpoint))}
"""
    config.write_text(config.read_text().replace("[corpora]", ours + "[corpora]"), encoding="utf-8")
    found = debug(config)
    assert found["train"].reach.limit == 7 and found["train"].reach.in_windows == 3
    assert debug(config, window=500)["train"].reach.in_windows == 0


def test_model_that_is_not_on_this_machine(config):
    ours = """
[components.padellm_ner]
factory = "padellm_ner"
[components.padellm_ner.model]
@architectures = "spacy-padellm.CausalLM.v1"
name = "nobody/such-model-anywhere"
"""
    config.write_text(config.read_text().replace("[corpora]", ours + "[corpora]"), encoding="utf-8")
    assert debug(config)["train"].reach is None


def test_token_longer_than_a_window(tmp_path, checkpoint):
    file = write(tmp_path / "a.spacy", Record("x" * 200, ()))
    result = run(file, "--tokenizer", checkpoint, "--window", "5")
    assert "1 texts have a token that is longer than a window" in " ".join(result.output.split())


def test_folder_without_a_tokenizer(corpus, tmp_path):
    (tmp_path / "nothing").mkdir()
    result = run(corpus, "--tokenizer", tmp_path / "nothing")
    assert result.exit_code == 1 and "[P027]" in result.output
