import hashlib
from pathlib import Path

import pytest
import spacy

from spacy_padellm.data.catalogue import CATALOGUE, PARTS, data_set
from spacy_padellm.data.docs import to_doc_bin
from spacy_padellm.data.splits import count_doubles, without_doubles

ASSETS = Path(__file__).parents[2] / "project" / "assets"
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
    for file in (file for files in entry.files.values() for file in files):
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
