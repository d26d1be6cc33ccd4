"""Addresses, listings, the files that readers are given, and the folder that is written to."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from pyarrow.fs import FileType
from spacy.vocab import Vocab

from spacy_padellm.cluster.opened import Opened
from spacy_padellm.cluster.output import Counts, Output
from spacy_padellm.cluster.place import place_of
from spacy_padellm.cluster.reading import SUFFIXES, read_parquet
from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.data.entries import read_file, readers_of
from spacy_padellm.data.records import Skip, stop
from tests.cluster.makers import lay, write, write_parquet


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "local://{path}"])
def test_a_folder_is_listed(tmp_path: Path, form: str):
    lay(tmp_path / "in")
    write(tmp_path / "in" / "other.md", "x")
    write(tmp_path / "in" / ".txt", "a name without an end, which the local engine leaves aside, too")
    place = place_of(form.format(path=tmp_path / "in"))
    files = place.files(SUFFIXES)
    assert [one.name for one in files] == ["_c.csv", "a.txt", "d.spacy", "deep/b.jsonl"]
    assert all(Path(one.path).stat().st_size == one.size for one in files)
    (alone,) = place_of(form.format(path=tmp_path / "in" / "a.txt")).files(SUFFIXES)
    assert alone.name == "a.txt"
    assert (place / "none").files(SUFFIXES) == [] and (place / "none").names() == []


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert place_of("in/deep").path == (tmp_path / "in" / "deep").as_posix()


def test_an_address_that_only_fsspec_knows(tmp_path: Path):
    write(tmp_path / "a.txt", "Ann")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.write(tmp_path / "a.txt", "deep/a.txt")
    place = place_of(f"zip://::{tmp_path / 'in.zip'}")
    (file,) = place.files(SUFFIXES)
    assert file.name == "deep/a.txt"
    with place.filesystem.open_input_file(file.path) as opened:
        assert Opened("x", opened).read_bytes() == b"Ann"


@pytest.mark.parametrize("address", ["nobody://x/y", "ftp://127.0.0.1:1/x"])
def test_an_address_that_nobody_opens_p041(address: str):
    with pytest.raises(ValueError, match=rf"\[P041\].*{address}"):
        place_of(address)


def test_within(tmp_path: Path):
    place = place_of(str(tmp_path))
    assert (place / "a").within(place) and place.within(place)
    assert not place_of(f"{tmp_path}2").within(place) and not place.within(place / "a")


@pytest.mark.parametrize("whole_files", [False, True])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
def test_opened_files_are_read_as_paths_are(tmp_path: Path, suffix: str, whole_files: bool):
    place = place_of(str(lay(tmp_path)))
    (file,) = place.files([suffix])
    reader = readers_of("text", whole_files, Vocab())[suffix]
    expected = list(map(repr, read_file(Path(file.path), "x", reader, on_error="skip")))
    with place.filesystem.open_input_file(file.path) as opened:
        assert list(map(repr, read_file(Opened(file.path, opened), "x", reader, on_error="skip"))) == expected != []


def test_opened_documents(tmp_path: Path):
    place = place_of(str(lay(tmp_path)))
    (file,) = place.files([".spacy"])
    with place.filesystem.open_input_file(file.path) as opened:
        docs = [doc.text for doc in read_docs(Opened(file.path, opened), Vocab())]
    assert docs == ["Ann met Bo", "nobody"]


def test_a_list_of_json_is_read(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", '[{"text": "Ann"},', '{"text": "Bo"}]')
    with place_of(str(path)).filesystem.open_input_file(str(path)) as opened:
        found = list(read_file(Opened("x", opened), "x", readers_of("text", False, Vocab())[".jsonl"]))
    assert [(one.line, one.text) for one in found] == [(1, "Ann"), (2, "Bo")]  # type: ignore[union-attr]


# Parquet


def test_rows_of_parquet(tmp_path: Path):
    rows: list[dict[str, Any]] = [{"id": 1, "body": "Ann"}, {"id": 2, "body": None}, {"id": 3, "body": ""}]
    path, skip = write_parquet(tmp_path / "a.parquet", rows), Skip()
    found = list(read_parquet(path, skip, "body"))
    assert found == [(1, "Ann", rows[0]), (3, "", rows[2])]
    assert len(skip.messages) == 1 and "[P113]" in skip.messages[0] and "line 2: 'body' is NoneType" in skip.messages[0]
    with pytest.raises(ValueError, match="P113"):
        list(read_parquet(path, stop, "body"))
    with pytest.raises(ValueError, match=r"\[P157\].*'text'.*'id', 'body'"):
        list(read_parquet(path, stop, "text"))


def test_two_columns_of_one_name_p157(tmp_path: Path):
    pyarrow.parquet.write_table(pa.table([["Ann"], ["Bo"]], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"\[P157\].*each once.*got 'text', 'text'"):
        list(read_parquet(tmp_path / "a.parquet", stop, "text"))


def test_no_parquet_p049(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\[P049\].*a\.parquet"):
        list(read_parquet(write(tmp_path / "a.parquet", "no"), stop, "text"))


# Output

COMMAND = {"format": "parquet", "field": "text"}


def test_a_new_folder_and_the_same_command_again(tmp_path: Path):
    place = place_of(str(tmp_path / "deep" / "out"))
    assert Output(place, COMMAND).complete is None
    assert place.names() == ["command.json"]
    assert Output(place, COMMAND).finish() == Counts(0, 0)
    assert Output(place, COMMAND).complete == Counts(0, 0)


def test_another_command_p159(tmp_path: Path):
    Output(place_of(str(tmp_path)), COMMAND)
    with pytest.raises(ValueError, match=r"\[P159\].*field \(text before, body now\)"):
        Output(place_of(str(tmp_path)), {**COMMAND, "field": "body"})


@pytest.mark.parametrize("content", ["[]", "{", "3"])
def test_something_else_is_there_p158(tmp_path: Path, content: str):
    with pytest.raises(ValueError, match=r"\[P158\].*another command\.json"):
        Output(place_of(str(write(tmp_path / "a" / "command.json", content).parent)), COMMAND)
    with pytest.raises(ValueError, match=r"\[P158\].*'x' in it"):
        Output(place_of(str(write(tmp_path / "b" / "x", content).parent)), COMMAND)
    with pytest.raises(ValueError, match=r"\[P158\].*a file"):
        Output(place_of(str(tmp_path / "b" / "x")), COMMAND)


def test_a_command_that_was_half_written_is_written_anew(tmp_path: Path):
    write(tmp_path / "command.json.tmp", "{")
    place = place_of(str(tmp_path))
    Output(place, COMMAND)
    assert place.names() == ["command.json"] and (place / "command.json").kind is FileType.File


def test_documents_without_their_ids_p045(tmp_path: Path):
    output = Output(place_of(str(tmp_path)), COMMAND)
    write_parquet(tmp_path / "documents" / "a.parquet", [{"id": 1, "error": None}, {"id": 2, "error": "P023"}])
    with pytest.raises(ValueError, match=r"\[P045\].*2 rows, and the ids of 0"):
        output.finish()
    write_parquet(tmp_path / "written" / "a.parquet", [{"id": 1}, {"id": 2}])
    assert output.finish() == Counts(1, 1)


def test_json_lines_are_counted(tmp_path: Path):
    output = Output(place_of(str(tmp_path)), {**COMMAND, "format": "jsonl"})
    write(tmp_path / "documents" / "a.jsonl", '{"id":1,"error":null,"spans":[]}', '{"id":2,"error":"P023"}', "")
    write_parquet(tmp_path / "written" / "a.parquet", [{"id": 1}, {"id": 2}])
    assert output.finish() == Counts(1, 1)
