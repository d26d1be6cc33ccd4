"""What importing costs, and what a broken dependency may break.

spaCy imports every installed `spacy_factories` entry point whenever a pipeline is made. thinc imports torch whenever
torch is there, and spacy-transformers imports transformers from its own entry point; both would hide what this package
does. So each test runs in a fresh interpreter that does not see spacy-transformers' entry points, and compares a spaCy
that sees this package with one that does not.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate", "huggingface_hub")

FACTORIES = [point.module for point in distribution("spacy-padellm").entry_points if point.group == "spacy_factories"]

# catalogue reads the entry points once, when it is imported: this must run before spaCy does.
HIDE = """
import importlib.metadata as metadata

def entry_points(**wanted):
    seen = (dist for dist in metadata.distributions() if dist.metadata["Name"].replace("_", "-") not in {hidden!r})
    return metadata.EntryPoints(point for dist in seen for point in dist.entry_points).select(**wanted)

metadata.entry_points = entry_points
"""


def run_fresh(body: str, *, hidden: Sequence[str] = (), first_on_path: Path | None = None) -> object:
    """Run code in a new interpreter.

    body (str): The code; it leaves what it has to say in `told`.
    hidden (Sequence[str]): Distributions whose entry points the interpreter does not see.
    first_on_path (Path | None): Folder whose packages hide installed ones of the same name.
    RETURNS: `told`, through JSON.
    """
    lead = f"import sys; sys.path.insert(0, {str(first_on_path)!r})\n" if first_on_path else ""
    code = lead + HIDE.format(hidden=list(hidden)) + textwrap.dedent(body) + "\nimport json; print(json.dumps(told))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def break_packages(folder: Path, names: Sequence[str], error: str) -> Path:
    """Write packages that raise when imported.

    RETURNS (Path): The folder to put first on the path.
    """
    for name in names:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f'raise {error}("broken on purpose: {name}")\n')
    return folder


def test_package_imports_nothing():
    told = run_fresh(
        f"""
        import sys
        import spacy_padellm
        told = sorted(set(sys.modules) & set({("spacy", "thinc", "numpy", *HEAVY)!r}))
        """
    )
    assert told == []


def test_blank_pipeline_imports_no_more_with_the_package_than_without():
    body = f"""
        import sys
        import spacy
        spacy.blank("en")
        told = {{
            "heavy": sorted(set(sys.modules) & set({HEAVY!r})),
            "factories": [name for name in {FACTORIES!r} if name in sys.modules],
        }}
        """
    without = run_fresh(body, hidden=["spacy-transformers", "spacy-padellm"])
    with_package = run_fresh(body, hidden=["spacy-transformers"])
    assert without["factories"] == []
    assert with_package["factories"] == FACTORIES != []
    assert with_package["heavy"] == without["heavy"]
    # torch is thinc's doing; nothing else of the kind is there, or the comparison would be blind to it.
    assert set(without["heavy"]) <= {"torch"}


def test_the_command_line_imports_nothing_heavy():
    """spaCy imports all commands whenever one of them runs."""
    told = run_fresh(
        f"""
        import sys
        import spacy.cli
        from importlib.metadata import entry_points
        [point.load() for point in entry_points(group="spacy_cli") if point.name == "padellm"]
        told = ["spacy_padellm.cli.export" in sys.modules, sorted(set(sys.modules) & set({HEAVY!r}) - {{"torch"}})]
        """,
        hidden=["spacy-transformers"],
    )
    assert told == [True, []]


# thinc itself survives a torch that raises ImportError and no other error.
@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["torch"], "ImportError"),
        (["transformers", "peft", "tokenizers", "safetensors"], "ImportError"),
        (["transformers", "peft", "tokenizers", "safetensors"], "RuntimeError"),
        (list(HEAVY), "ImportError"),
    ],
    ids=["torch", "others", "others-otherwise", "all"],
)
def test_broken_dependency_breaks_no_other_pipeline(tmp_path: Path, names: list[str], error: str):
    broken = tmp_path / "broken"
    broken.mkdir()
    told = run_fresh(
        f"""
        import sys
        import spacy
        nlp = spacy.blank("en")
        nlp.add_pipe("sentencizer")
        nlp.to_disk({str(tmp_path / "pipeline")!r})
        loaded = spacy.load({str(tmp_path / "pipeline")!r})
        told = [
            [name for name in {FACTORIES!r} if name in sys.modules],
            len(list(loaded("One sentence. Another one.").sents)),
        ]
        """,
        hidden=["spacy-transformers"],
        first_on_path=break_packages(broken, names, error),
    )
    assert told == [FACTORIES, 2]


def test_a_model_without_an_adapter_does_without_peft(tmp_path: Path):
    """It takes seconds where bitsandbytes is installed, which peft imports."""
    told = run_fresh(
        f"""
        import sys
        import spacy
        nlp = spacy.blank("en")
        shape = {{"hidden_size": 8, "n_layers": 1, "n_heads": 1, "intermediate_size": 8, "vocab_size": 300}}
        model = {{"@architectures": "spacy-padellm.FreshCausalLM.v1", **shape}}
        nlp.add_pipe("padellm_ner", config={{"model": model}}).add_label("city")
        nlp.initialize()
        nlp("Paris")
        nlp.to_disk({str(tmp_path)!r})
        spacy.load({str(tmp_path)!r})("Paris")
        told = sorted(set(sys.modules) & {{"transformers", "peft", "bitsandbytes"}})
        """,
        hidden=["spacy-transformers"],
    )
    assert told == ["transformers"]
