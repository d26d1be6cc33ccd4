import pytest
import spacy
from spacy.tokens import DocBin

from spacy_padellm.data.doc_bins import read_docs, spacy_files

NLP = spacy.blank("en")


def test_files_of_a_path(tmp_path):
    for name in ("b.spacy", "deep/a.spacy", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in spacy_files(tmp_path)] == ["b.spacy", "a.spacy"]
    assert spacy_files(tmp_path / "b.spacy") == [tmp_path / "b.spacy"]
    assert spacy_files(tmp_path / "c.txt") == spacy_files(tmp_path / "none.spacy") == []


def test_documents(tmp_path):
    DocBin(docs=[NLP("Ann"), NLP("Bo")]).to_disk(tmp_path / "a.spacy")
    assert [doc.text for doc in read_docs(tmp_path / "a.spacy", NLP.vocab)] == ["Ann", "Bo"]


def test_broken_file(tmp_path):
    (tmp_path / "a.spacy").write_bytes(b"not a DocBin at all")
    with pytest.raises(ValueError, match=r"\[P109\] .*a\.spacy"):
        list(read_docs(tmp_path / "a.spacy", NLP.vocab))
    with pytest.raises(FileNotFoundError):
        list(read_docs(tmp_path / "none.spacy", NLP.vocab))
