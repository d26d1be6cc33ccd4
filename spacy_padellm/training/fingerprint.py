"""What a training depends on, by name: its config, and what the files of its corpora hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thinc.api import Config

FREE = ("training.max_steps", "training.patience", "training.eval_frequency", "training.logger", "training.max_epochs")
"""What may differ when a training goes on: how long it goes, and what is told about it."""

_UNUSED = ("paths", "system.gpu_allocator", "training.gpu_allocator")
"""What has no bearing by itself. A path is compared where it is used, and there by what lies at its end."""

_OF_FILES = ("corpora", "initialize")
_REFERENCE = re.compile(r"\$\{([\w.-]+)\}")

Fingerprint = dict[str, Any]


def fingerprint(config: Config) -> Fingerprint:
    """What a training depends on. Settings that refer to a free one, as a schedule may to `max_steps`, are free, too.

    config (Config): The pipeline's config, its variables not put in.
    RETURNS (Fingerprint): Dotted name of a setting to its value; a file's, to the checksum of what it holds.
    """
    found: Fingerprint = {}
    raw = dict(_flat(config))
    for name, value in _flat(config.interpolate()):
        if _is_under(name, (*FREE, *_UNUSED)) or _refers_to_free(raw.get(name)):
            continue
        found[name] = _content(value) if _is_under(name, _OF_FILES) else value
    # A corpus that is held is shuffled, one that is streamed is not.
    found["training.max_epochs (-1 or not)"] = config.interpolate()["training"]["max_epochs"] == -1
    return json.loads(json.dumps(found))


def differences(then: Fingerprint, now: Fingerprint) -> list[str]:
    """What is not as it was, in words, by name."""
    told = []
    for name in sorted({*then, *now}):
        if name not in then or name not in now or then[name] != now[name]:
            told.append(f"{name} ({_told(then, name)} then, {_told(now, name)} now)")
    return told


def _told(found: Fingerprint, name: str) -> str:
    return json.dumps(found[name], ensure_ascii=False) if name in found else "nothing"


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_under(name: str, settings: tuple[str, ...]) -> bool:
    return any(name == setting or name.startswith(setting + ".") for setting in settings)


def _refers_to_free(value: object) -> bool:
    return isinstance(value, str) and any(_is_under(name, FREE) for name in _REFERENCE.findall(value))


def _content(value: object) -> object:
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.exists():
        return value
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        total.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                total.update(block)
    return f"content {total.hexdigest()}"
