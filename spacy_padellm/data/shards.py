"""A folder of output that grows by whole shards, so that a process may be killed at any moment.

    part-000000.jsonl ...   the documents, so many a file
    failed.log            the entries that have none, one a line
    manifest.log          what was asked, then a line for each step: what is settled from then on
    lock                    held by the process that writes

The order of writing is what makes it safe. A shard is written under another name, brought to the disk and renamed; what
failed is added to its file; last comes the manifest's line, which names both. What the manifest does not name was never
written: whoever goes on cuts it off. A line that was half written is cut, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from spacy_padellm.data.durable import DRAFT, append, cut, json_line, write_whole
from spacy_padellm.data.lock import Lock
from spacy_padellm.errors import Errors

MANIFEST, FAILED = "manifest.log", "failed.log"


class Part(Protocol):
    """The documents of one shard."""

    suffix: str

    def __len__(self) -> int: ...

    def to_bytes(self) -> bytes: ...


@dataclass(frozen=True)
class Step:
    """How far the output has come: a line of the manifest.

    shard (str | None): Name of the shard that came with this step; None where every entry of it failed.
    size (int): Its bytes.
    checksum (str): Its MD5.
    settled (int): Entries that are done with, all steps together.
    documents, failed (int): How many of them have a document and how many have none.
    failed_size (int): Bytes of the file of those that have none.
    """

    shard: str | None = None
    size: int = 0
    checksum: str = ""
    settled: int = 0
    documents: int = 0
    failed: int = 0
    failed_size: int = 0


class Shards:
    """Output that goes on where it stopped. A context: no other process can write to the folder within it.

    folder (Path): Made if it does not exist.
    command (Mapping[str, str]): What was asked, by name: settings, and checksums of what went in.
    RAISES (ValueError): P158 for a path with something else, P159 for output of another command, P185 if another
        process writes to it, P186 if it is damaged.
    """

    def __init__(self, folder: Path, command: Mapping[str, str]) -> None:
        self.folder = folder
        self.command = dict(command)
        self.entries: int | None = None
        self.steps: list[Step] = []
        if folder.exists() and not folder.is_dir():
            raise ValueError(Errors.P158.format(path=folder, got="a file"))
        others = {path.name for path in folder.iterdir()} - {"lock", MANIFEST + DRAFT} if folder.exists() else set()
        if others and MANIFEST not in others:
            raise ValueError(Errors.P158.format(path=folder, got=f"a folder with {min(others)!r} in it"))
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(folder / "lock")

    def __enter__(self) -> Shards:
        self._lock.take()
        try:
            if (self.folder / MANIFEST).exists():
                self._go_on()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def last(self) -> Step:
        """The last step, zeros before the first."""
        return self.steps[-1] if self.steps else Step()

    @property
    def complete(self) -> bool:
        return self.last.settled == self.entries

    def begin(self, entries: int) -> None:
        """Write what was asked, and how many entries there are."""
        self.entries = entries
        write_whole(self.folder / MANIFEST, json_line({"command": self.command, "entries": entries}))

    def add(self, part: Part, failed: Iterable[Mapping[str, Any]]) -> None:
        """Add one shard, and the lines about entries that have no document."""
        lines = [json_line(one) for one in failed]
        before, name, content = self.last, None, b""
        if len(part):
            content = part.to_bytes()
            name = f"part-{len(self.steps):06}{part.suffix}"
            write_whole(self.folder / name, content)
        if lines:
            append(self.folder / FAILED, b"".join(lines))
        step = Step(
            shard=name,
            size=len(content),
            checksum=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            settled=before.settled + len(part) + len(lines),
            documents=before.documents + len(part),
            failed=before.failed + len(lines),
            failed_size=before.failed_size + sum(map(len, lines)),
        )
        append(self.folder / MANIFEST, json_line(asdict(step)))
        self.steps.append(step)

    def paths(self) -> list[Path]:
        """The shards, in order."""
        return [self.folder / step.shard for step in self.steps if step.shard]

    # Going on

    def _go_on(self) -> None:
        head, *steps = self._read_manifest()
        if not isinstance(head.get("command"), dict) or not isinstance(head.get("entries"), int):
            raise ValueError(Errors.P158.format(path=self.folder, got=f"another {MANIFEST}"))
        before = head["command"]
        names = sorted(name for name in before.keys() | self.command if before.get(name) != self.command.get(name))
        if names:
            told = ", ".join(f"{name} ({before.get(name)} before, {self.command.get(name)} now)" for name in names)
            raise ValueError(Errors.P159.format(path=self.folder, differences=told))
        try:
            self.steps = [Step(**step) for step in steps]
        except TypeError as error:
            raise self._damage(f"{MANIFEST}: {error}") from error
        self.entries = head["entries"]
        self._cut_off()

    def _read_manifest(self) -> list[dict[str, Any]]:
        path = self.folder / MANIFEST
        raw = path.read_bytes()
        found: list[dict[str, Any]] = []
        kept = 0
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                whole = isinstance(value, dict) and line.endswith(b"\n")
            except ValueError:
                whole = False
            if whole:
                found.append(value)
                kept += len(line)
            elif number < len(lines) or number == 1:
                raise self._damage(f"{MANIFEST}, line {number} cannot be read")
        if not found:
            raise self._damage(f"{MANIFEST} is empty")
        if kept < len(raw):
            cut(path, kept)
        return found

    def _cut_off(self) -> None:
        """Remove what no step names, and look whether all that they name is there."""
        named = {step.shard: step.size for step in self.steps if step.shard}
        for name, size in named.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != size:
                raise self._damage(f"{name} is missing, or not the file that was written")
        for path in {*self.folder.glob("part-*"), *self.folder.glob(f"*{DRAFT}")}:
            if path.name not in named:
                path.unlink()
        failed, size = self.folder / FAILED, self.last.failed_size
        written = failed.stat().st_size if failed.exists() else 0
        if written < size:
            raise self._damage(f"{FAILED} is missing, or not the file that was written")
        if written > size:
            cut(failed, size)

    def _damage(self, problem: str) -> ValueError:
        return ValueError(Errors.P186.format(path=self.folder, problem=problem))
