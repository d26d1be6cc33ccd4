"""Every extra in an environment of its own, and all in one, on both stacks: it installs, its packages agree, and what
it is for works. Takes half an hour and a package index; `make extras-test` runs it.

    python tests/e2e/extras.py dist/spacy_padellm-*.whl [--stack a b] [--extra serve ray ...] [--output extras.json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

STACKS = {"a": "transformers>=4.53,<5", "b": "transformers>=5,<6"}
"""What each stack adds to the package; spacy-transformers is one of the extras."""

EXTRAS = ("serve", "server", "gguf", "ray", "devices", "quantization", "docs", "spacy-transformers")
"""What users install. `test` and `dev` are what `make test` installs."""

IMPOSSIBLE = {("b", "spacy-transformers")}
"""spacy-transformers holds transformers below 4.53.3. That pip refuses it is looked at, too: one day it will not."""

TOLD = ("torch", "transformers", "peft", "spacy", "spacy-transformers")
"""Packages whose versions are told."""


@dataclass(frozen=True)
class Selection:
    stack: str
    extras: tuple[str, ...]

    @property
    def name(self) -> str:
        return "+".join(self.extras) or "none"


def selections(stacks: list[str], extras: list[str]) -> list[Selection]:
    """Nothing, each alone, and all that go together."""
    found = []
    for stack in stacks:
        together = tuple(extra for extra in extras if (stack, extra) not in IMPOSSIBLE)
        found += [Selection(stack, ()), *(Selection(stack, (extra,)) for extra in extras)]
        found += [Selection(stack, together)] if len(together) > 1 else []
    return found


def attempt(selection: Selection, wheel: Path, torch: str) -> dict[str, Any]:
    """RETURNS (dict): What came of it: "works", "refused" (by pip's resolver), or where it failed, with the output."""
    with tempfile.TemporaryDirectory() as made:
        python = Path(made) / "env" / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        package = f"{wheel.resolve()}[{','.join(selection.extras)}]" if selection.extras else str(wheel.resolve())
        begun = time.monotonic()
        steps = [
            ("environment", [sys.executable, "-m", "venv", str(python.parent.parent)]),
            ("torch", [*pip, torch]),
            ("install", [*pip, package, STACKS[selection.stack]]),
            ("check", [str(python), "-m", "pip", "check"]),
            ("probe", [str(python), "-I", str(HERE / "extra.py"), *(selection.extras or ["none"])]),
        ]
        row: dict[str, Any] = {"stack": selection.stack, "extras": selection.name}
        for step, command in steps:
            ran = subprocess.run(command, cwd=made, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if ran.returncode:
                refused = step == "install" and "ResolutionImpossible" in ran.stdout
                return {**row, "outcome": "refused" if refused else f"failed: {step}", "printed": ran.stdout[-3000:]}
        versions = installed(python)
        told = {name: versions.get(name) for name in TOLD}
        seconds = round(time.monotonic() - begun)
        return {**row, "outcome": "works", "seconds": seconds, "n_packages": len(versions), **told}


def installed(python: Path) -> dict[str, str]:
    """RETURNS (dict): The version of each package."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {one["name"]: one["version"] for one in json.loads(listed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--stack", nargs="+", choices=sorted(STACKS), default=sorted(STACKS))
    parser.add_argument("--extra", nargs="+", choices=EXTRAS, default=list(EXTRAS))
    parser.add_argument("--torch", default="torch==2.13.0", help="installed before everything else")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    rows, wrong = [], 0
    for selection in selections(arguments.stack, arguments.extra):
        row = attempt(selection, arguments.wheel, arguments.torch)
        expected = "refused" if (selection.stack, selection.name) in IMPOSSIBLE else "works"
        wrong += row["outcome"] != expected
        print(f"{row['stack']} {row['extras']}: {row['outcome']}", flush=True)
        if row["outcome"] != expected:
            print(f"expected: {expected}\n{row.get('printed', '')}", flush=True)
        rows.append(row)
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
