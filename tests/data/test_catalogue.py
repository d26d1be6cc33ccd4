import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import spacy

from spacy_padellm.data.catalogue import CATALOGUE, data_set
from spacy_padellm.data.converters import READERS
from spacy_padellm.data.data_set import PARTS, PublishedFile
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.splits import count_doubles, without_doubles

ASSETS = Path(__file__).parents[2] / "project" / "assets"
SAMPLES = Path(__file__).parent / "samples"
OF_FORMAT = {
    "conll": "iob1.conll",
    "conll_chars": "sentences.char.bmes",
    "conversations": "conversations.json",
    "nested": "nested.json",
    "padellm": "padellm_en.json",
    "padellm_chars": "padellm_zh.json",
    "padellm_genia": "padellm_genia.json",
}
THE_PAPERS = """
    conll03 ace05 genia weibo msra ontonotes4 resume youku ecommerce
    crossner_ai crossner_literature crossner_music crossner_politics crossner_science
    mit_movie mit_restaurant pile_ner
"""
SHIPPED = [name for name, entry in CATALOGUE.items() if entry.shipped]
TEXTS = {"snips_screening": (1859, 100, 100), "snips_weather": (1900, 100, 100)}
MENTIONS = {"snips_screening": (4085, 216, 212), "snips_weather": (4368, 226, 242)}
# Texts that stand earlier in train, dev texts and test texts that stand in train; what dropping them leaves.
DOUBLES = {"snips_screening": ((102, 11, 3), 1746), "snips_weather": ((8, 1, 1), 1891)}


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request):
    return data_set(request.param), data_set(request.param).read(ASSETS)


def test_counts(shipped):
    entry, parts = shipped
    assert tuple(len(parts[part]) for part in PARTS) == TEXTS[entry.name]
    assert tuple(sum(len(record.spans) for record in parts[part]) for part in PARTS) == MENTIONS[entry.name]


def test_doubles(shipped):
    entry, parts = shipped
    found = count_doubles(*(parts[part] for part in PARTS))
    left = without_doubles(parts["train"], parts["dev"], parts["test"])
    assert (tuple(found), len(left)) == DOUBLES[entry.name]


def test_labels_are_those_of_the_files(shipped):
    entry, parts = shipped
    assert set(entry.labels) == {span.label for part in PARTS for record in parts[part] for span in record.spans}
    assert all("_" not in words and words == words.lower() for words in entry.labels.values())
    assert len(set(entry.labels.values())) == len(entry.labels)


def test_no_mention_is_lost(shipped):
    entry, parts = shipped
    summaries = [to_doc_bin(parts[part], spacy.blank(entry.lang))[1] for part in PARTS]
    assert [summary.kept for summary in summaries] == list(MENTIONS[entry.name])
    assert [summary.unaligned for summary in summaries] == [2, 0, 2]
    assert [summary.nested for summary in summaries] == [0, 0, 0]


def test_published_files(shipped):
    entry, _ = shipped
    readme = (ASSETS / "snips" / "README.md").read_text(encoding="utf-8")
    assert entry.licence in readme.replace("CC0 1.0", "CC0-1.0")
    for file in entry:
        assert file.url.startswith("https://")
        assert file.md5 in readme
        assert hashlib.sha256((ASSETS / file.path).read_bytes()).hexdigest() in readme


def test_other_file_is_refused(tmp_path):
    for path in ASSETS.rglob("*.json"):
        copy = tmp_path / path.relative_to(ASSETS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"\[P112\] .*train_SearchScreeningEvent_full\.json.*ce504fd6"):
        data_set("snips_screening").read(tmp_path)


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"\[P108\] .*'conll'.*snips_screening, snips_weather"):
        data_set("conll")


def test_every_data_set_of_the_paper_has_an_entry():
    assert {*THE_PAPERS.split(), *SHIPPED} == CATALOGUE.keys()


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_entry_is_whole(entry):
    assert entry.title and entry.licence and entry.citation and entry.split
    assert entry.format in READERS
    assert set(entry.files) <= set(PARTS) and "train" in entry.files
    assert ("dev" in entry.files) == (entry.dev_size == 0)
    assert len({file.path for file in entry}) == len(list(entry))
    words = list(entry.labels.values())
    assert all(word.strip() and "_" not in word for word in words)
    assert len(set(words)) == len(words)
    assert words or entry.format == "conversations"
    for file in entry:
        assert file.url is not None or entry.obtain
        # At one commit: the file behind the address stays the same.
        assert file.url is None or (file.url.startswith("https://") and re.search(r"/[0-9a-f]{40}/", file.url))
        assert file.md5 is None or re.fullmatch(r"[0-9a-f]{32}", file.md5)
    assert entry.unverified == [file.path for file in entry if file.md5 is None]


def test_no_checksum_stands_twice():
    known = [file.md5 for entry in CATALOGUE.values() for file in entry if file.md5 is not None]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("name", THE_PAPERS.split())
def test_missing_files_are_named_with_where_they_are_to_be_had(tmp_path, name):
    entry = data_set(name)
    with pytest.raises(ValueError, match=rf"\[P115\] .*'{name}' lacks files") as raised:
        entry.read(tmp_path)
    for file in entry:
        assert str(tmp_path / file.path) in str(raised.value)
        assert file.url is None or file.url in str(raised.value)
    assert entry.obtain in str(raised.value)
    assert entry.licence in str(raised.value)


@pytest.mark.parametrize("name", THE_PAPERS.split())
def test_entry_reads_its_format(tmp_path, name):
    """No published file of these comes with the tests: a sample in the same format stands in for each."""
    entry = data_set(name)
    files = {part: tuple(PublishedFile(file.path) for file in found) for part, found in entry.files.items()}
    for file in entry:
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / OF_FORMAT[entry.format], tmp_path / file.path)
    parts = replace(entry, files=files, dev_size=min(entry.dev_size, 1)).read(tmp_path)
    for part in ("train", "dev", *entry.files):
        assert parts[part], part
    assert any(record.spans for record in parts["train"])
    if any(file.md5 for file in entry):
        with pytest.raises(ValueError, match="P112"):
            entry.read(tmp_path)


def test_nested_entries_read_formats_that_can_nest():
    nested = {entry.name: entry.format for entry in CATALOGUE.values() if entry.nested}
    assert nested == {"ace05": "nested", "genia": "padellm_genia", "pile_ner": "conversations"}
