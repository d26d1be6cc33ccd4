import json

import pytest

from spacy_padellm.data.labels import read_labels_v1


@pytest.mark.parametrize("labels", [["city", "movie"], {"movie": "movie name", "city": None}])
def test_what_the_file_holds_comes_back_in_order(tmp_path, labels):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels), encoding="utf-8")
    assert read_labels_v1(path=path) == labels
    assert list(read_labels_v1(path=path)) == list(labels)


def test_no_path_no_labels():
    assert read_labels_v1() is None


@pytest.mark.parametrize("content", [None, "{", "city"])
def test_missing_or_broken_file_p116(tmp_path, content):
    path = tmp_path / "labels.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[P116\].*labels\.json"):
        read_labels_v1(path=path)


def test_a_folder_is_no_file_p116(tmp_path):
    with pytest.raises(ValueError, match=r"\[P116\].*directory"):
        read_labels_v1(path=tmp_path)
