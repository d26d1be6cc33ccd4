"""Output that is complete whenever the process dies, and whoever writes at once."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from spacy_padellm.data import durable, shards
from spacy_padellm.data.lock import Lock
from spacy_padellm.data.shards import Shards, Step

COMMAND = {"input": "abc", "format": "jsonl"}


class Numbers:
    suffix = ".jsonl"

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)

    def to_bytes(self):
        return b"".join(durable.json_line({"number": number}) for number in self.numbers)


TOTAL = 10


def work(folder, command=COMMAND):
    """Settle the numbers, three at a time; every fourth one fails."""
    with Shards(folder, command) as output:
        if output.entries is None:
            output.begin(TOTAL)
        while not output.complete:
            begun = output.last.settled
            numbers = range(begun, min(TOTAL, begun + 3))
            good = [number for number in numbers if number % 4 != 3]
            output.add(Numbers(good), [{"number": number} for number in numbers if number % 4 == 3])
        return output.last


def numbers_in(folder):
    """What stands in the output, documents and failures each in order."""
    parts = sorted(folder.glob("part-*"))
    lines = [line for path in parts for line in path.read_text().splitlines()]
    failed = (folder / "failed.log").read_text().splitlines()
    return [[json.loads(line)["number"] for line in one] for one in (lines, failed)]


WHOLE = [[0, 1, 2, 4, 5, 6, 8, 9], [3, 7]]


def test_whole(tmp_path):
    last = work(tmp_path / "deep" / "out")
    assert (last.settled, last.documents, last.failed) == (10, 8, 2)
    assert numbers_in(tmp_path / "deep" / "out") == WHOLE
    with Shards(tmp_path / "deep" / "out", COMMAND) as output:
        assert output.complete and output.entries == 10
        assert [path.name for path in output.paths()] == [f"part-00000{n}.jsonl" for n in range(4)]


class Power(BaseException):
    """The process is gone: nothing catches it."""


def fail_at(monkeypatch: pytest.MonkeyPatch, nth: int, how: str) -> list[int]:
    """Let the nth write, rename or call to the disk be the last thing that happens; a write may be done by half."""
    met = [0]

    def now() -> bool:
        met[0] += 1
        return met[0] == nth

    def spy(inner, half):
        def write(path, content):
            if now():
                if half:
                    target = path.with_name(path.name + durable.DRAFT) if inner is durable.write_whole else path
                    with target.open("ab") as file:
                        file.write(content[: len(content) // 2])
                raise Power
            inner(path, content)

        return write

    def before(inner, after):
        def call(*args):
            if now():
                if after:
                    inner(*args)
                raise Power
            return inner(*args)

        return call

    if how in ("before", "half"):
        monkeypatch.setattr(shards, "write_whole", spy(durable.write_whole, how == "half"))
        monkeypatch.setattr(shards, "append", spy(durable.append, how == "half"))
    else:
        monkeypatch.setattr(durable.os, "fsync", before(durable.os.fsync, how == "after disk"))
        monkeypatch.setattr(durable.os, "replace", before(durable.os.replace, how == "after disk"))
    return met


@pytest.mark.parametrize("how", ["before", "half", "before disk", "after disk"])
def test_it_goes_on_from_whatever_write_was_the_last(tmp_path, how):
    nth = 0
    while True:
        nth += 1
        folder = tmp_path / str(nth)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, nth, how)
            try:
                work(folder)
            except Power:
                interrupted = True
            else:
                interrupted = False
        last = work(folder)
        assert numbers_in(folder) == WHOLE
        assert (last.settled, last.documents, last.failed) == (10, 8, 2)
        assert not list(folder.glob("*.tmp"))
        if not interrupted:
            break
    assert nth > 10


def test_it_dies_again_and_again(tmp_path):
    """Each run a few writes further, each time in another way."""
    folder, random_ = tmp_path / "out", random.Random(1)
    for _ in range(200):
        with pytest.MonkeyPatch.context() as patch:
            how = random_.choice(["before", "half", "before disk", "after disk"])
            fail_at(patch, random_.randint(1, 6), how)
            try:
                work(folder)
            except Power:
                continue
            break
    work(folder)
    assert numbers_in(folder) == WHOLE


def test_cutting_off_may_itself_be_interrupted(tmp_path):
    folder = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, 5, "half")
        with pytest.raises(Power):
            work(folder)
    with (folder / "failed.log").open("ab") as file:
        file.write(b"half a li")
    for nth in range(1, 4):
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, nth, "before disk")
            with pytest.raises(Power):
                work(folder)
    work(folder)
    assert numbers_in(folder) == WHOLE


def test_another_command_p159(tmp_path):
    work(tmp_path)
    before = numbers_in(tmp_path)
    with pytest.raises(ValueError, match=r"\[P159\].*differs: format \(jsonl before, spacy now\), more \(None before"):
        work(tmp_path, {**COMMAND, "format": "spacy", "more": "x"})
    assert numbers_in(tmp_path) == before


def test_a_place_that_is_taken_p158(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.doc").write_text("x")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "manifest.log").write_text('{"own": 1}\n')
    for name, got in (("a", "a file"), ("b", "a folder with 'mine.doc'"), ("c", "another manifest")):
        with pytest.raises(ValueError, match=rf"\[P158\].*got {got}"):
            work(tmp_path / name)
    assert (tmp_path / "b" / "mine.doc").read_text() == "x"


def damage_shard(folder: Path) -> None:
    (folder / "part-000001.jsonl").write_text("")


def lose_shard(folder: Path) -> None:
    (folder / "part-000000.jsonl").unlink()


def lose_failures(folder: Path) -> None:
    (folder / "failed.log").unlink()


def damage_manifest(folder: Path) -> None:
    lines = (folder / "manifest.log").read_text().splitlines(keepends=True)
    (folder / "manifest.log").write_text("".join([lines[0], "{\n", *lines[2:]]))


def strange_manifest(folder: Path) -> None:
    with (folder / "manifest.log").open("a") as file:
        file.write('{"unheard": "of"}\n')


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.log").write_text("")


def half_a_head(folder: Path) -> None:
    (folder / "manifest.log").write_text('{"comm')


@pytest.mark.parametrize(
    "harm",
    [damage_shard, lose_shard, lose_failures, damage_manifest, strange_manifest, empty_manifest, half_a_head],
)
def test_damage_is_told_p186(tmp_path, harm):
    work(tmp_path)
    harm(tmp_path)
    with pytest.raises(ValueError, match=r"\[P186\]"):
        work(tmp_path)


def test_only_one_writes_p185(tmp_path):
    with Shards(tmp_path, COMMAND), pytest.raises(ValueError, match=r"\[P185\]"):
        work(tmp_path)
    work(tmp_path)
    # Whoever is refused leaves the lock to others.
    with pytest.raises(ValueError, match=r"\[P159\]"):
        work(tmp_path, {})
    lock = Lock(tmp_path / "lock")
    lock.take()
    lock.release()


def test_a_step_without_documents_has_no_shard(tmp_path):
    with Shards(tmp_path, COMMAND) as output:
        output.begin(2)
        output.add(Numbers([]), [{"number": 0}])
        output.add(Numbers([1]), [])
    assert [path.name for path in tmp_path.glob("part-*")] == ["part-000001.jsonl"]
    assert work(tmp_path).settled == 2


def test_lone_surrogates_are_written_as_json_escapes_them():
    line = durable.json_line({"a\ud800": "京\udfff"})
    assert "京".encode() in line and json.loads(line) == {"a\ud800": "京\udfff"}


def test_no_step_yet():
    assert Step().settled == 0
