"""Compare a built wheel with the source tree: `python tests/e2e/check_wheel.py dist/NAME.whl`."""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "spacy_padellm"


def check_wheel(wheel: Path) -> int:
    """wheel (Path): The file to look into.
    RETURNS (int): How many modules it holds.
    RAISES (SystemExit): The wheel lacks a file of the package, or holds a file from outside it.
    """
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")} | {f"{PACKAGE}/py.typed"}
    missing = sorted(wanted - held)
    foreign = sorted(name for name in held if name.split("/")[0] != PACKAGE and ".dist-info/" not in name)
    licences = [name for name in held if name.endswith("LICENSE")]
    if missing or foreign or not licences:
        raise SystemExit(f"{wheel.name}: missing {missing}, foreign {foreign}, licences {licences}")
    return len(wanted) - 1


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{Path(argument).name}: {check_wheel(Path(argument))} modules, py.typed and the licence, nothing else")
