"""`python -m spacy padellm push`: a pipeline, or its model, to the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from spacy.language import Language
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.folders import written_whole
from spacy_padellm.errors import Errors

if TYPE_CHECKING:
    from spacy_padellm.sharing.card import Said
    from spacy_padellm.sharing.forms import Shape
    from spacy_padellm.sharing.hub import Commit

ATTRIBUTES = ".gitattributes"
"""The hub's own file, which no push takes away."""

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")

_MOST_SHOWN = 40


@app.command("push")
def push_cli(
    model: str = typer.Argument(..., help="Folder or package name of a pipeline with a padellm_ner pipe"),
    repo: str = typer.Argument(..., help="Repository of the hub: OWNER/NAME"),
    pipeline: bool = typer.Option(False, "--pipeline", "-P", help="A spaCy pipeline with its models whole, merged"),
    adapter: bool = typer.Option(False, "--adapter", "-a", help="The adapter alone, as a PEFT folder"),
    merged: bool = typer.Option(False, "--merged", "-m", help="A plain Hugging Face folder, the adapter merged"),
    as_is: bool = typer.Option(False, "--as-is", "-A", help="The spaCy pipeline as it is"),
    licence: str | None = typer.Option(
        None, "--licence", "--license", "-l", help="Short name of a licence, as mit; else that of meta.json"
    ),
    metrics: Path | None = typer.Option(None, "--metrics", "-M", help="Figures that padellm evaluate --output wrote"),
    about_data: str = typer.Option("", "--data", "-t", help="What to say about the data, in words"),
    dataset: list[str] = typer.Option([], "--dataset", "-s", help="Id of a data set of the hub; may be repeated"),
    language: list[str] = typer.Option([], "--language", "-L", help="Code of a language; else the pipeline's"),
    base_model: str | None = typer.Option(
        None, "--base-model", "-B", help="Hub id of the base model, where the pipeline names a folder"
    ),
    private: bool = typer.Option(False, "--private", help="Make the repository private, if it is not there yet"),
    branch: str | None = typer.Option(None, "--branch", "-b", help="Branch to push to, made if it is not there"),
    create_pr: bool = typer.Option(False, "--create-pr", help="Open a pull request with it"),
    message: str | None = typer.Option(None, "--message", help="Message of the commit"),
    keep: bool = typer.Option(False, "--keep", "-k", help="Leave what the repository holds beside the new files"),
    token_name: str | None = typer.Option(
        None, "--token-name", help="Environment variable that holds the token; else the hub's own login"
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Write what would be pushed to this folder, and push nothing"
    ),
    force: bool = typer.Option(False, "--force", "-f", help="Replace what is in the output folder"),
    yes: bool = typer.Option(False, "--yes", "-y", help="Push without asking"),
    pipe: str | None = typer.Option(None, "--pipe", "-p", help="Name of the pipe, where there are several"),
    dtype: str | None = typer.Option(
        None, "--dtype", "-d", help="float32, bfloat16 or float16; else the base model's (--merged, --pipeline)"
    ),
    dequantize: bool = typer.Option(
        False, "--dequantize", "-D", help="Write quantised weights as the numbers they stand for"
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
) -> None:
    """Push a pipeline to the Hugging Face hub in one form, with a card. All files are listed first; the commit replaces
    what the repository holds.
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        form = _form({"--pipeline": pipeline, "--adapter": adapter, "--merged": merged, "--as-is": as_is})
        setup_gpu(gpu_id, silent=True)
        # Every command of spaCy imports this module, and what is imported here takes seconds.
        from spacy_padellm.sharing.card import Said
        from spacy_padellm.sharing.forms import Shape
        from spacy_padellm.sharing.hub import Commit, check_repo

        check_repo(repo)
        if create_pr and branch is not None:
            raise ValueError(Errors.P001.format(name="branch", expected="nothing with --create-pr", got=branch))
        shape = Shape(form, pipe, dtype, dequantize, base_model)
        nlp = _loaded(model)
        named = _licence(licence or str(nlp.meta.get("license") or ""))
        said = Said(repo, named, tuple(language), about_data, tuple(dataset), branch)
        if output is not None:
            with written_whole(output, force=force, sources=[Path(model)] if Path(model).exists() else []) as folder:
                _write(nlp, folder, shape, said, metrics)
            msg.good(f"Wrote {output}, pushed nothing")
            return
        told = message or f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']} ({form.removeprefix('--')})"
        commit = Commit(told, private, create_pr, keep)
        place = _push(nlp, shape, said, metrics, commit=commit, token_name=token_name, yes=yes)
    msg.good(f"Pushed: {place}")


def _push(
    nlp: Language,
    shape: Shape,
    said: Said,
    metrics: Path | None,
    *,
    commit: Commit,
    token_name: str | None,
    yes: bool,
) -> str:
    """Write what is wanted, show it, and push it. RETURNS (str): Where to look at it."""
    from spacy_padellm.sharing.hub import Repository, find_token

    target = Repository(said.repo, find_token(token_name), said.branch)
    # Before a model of many gigabytes is merged.
    target.check_token()
    there = target.files()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = _write(nlp, folder, shape, said, metrics)
        _show_what_is_there(said.repo, there, sizes, commit.keep)
        if not yes:
            typer.confirm(f"Push {len(sizes)} files to {said.repo}?", abort=True)
        return target.push(folder, commit)


def _write(nlp: Language, folder: Path, shape: Shape, said: Said, metrics: Path | None) -> dict[str, int]:
    """Write what is wanted and say what that is. RETURNS (dict[str, int]): The bytes of each file."""
    from spacy_padellm.sharing.written import write_repository

    changed = write_repository(nlp, folder, shape, said, metrics=metrics)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    rows = [*((name, f"{size:,}") for name, size in sizes.items()), ("all", f"{sum(sizes.values()):,}")]
    msg.table(rows, header=("file", "bytes"), divider=True, aligns=("l", "r"), max_col=200)
    if changed:
        msg.info(f"Names of folders of this machine were taken out of {', '.join(changed)}")
    return sizes


def _show_what_is_there(repo: str, there: list[str] | None, sizes: Mapping[str, int], keep: bool) -> None:
    """Say what becomes of what a repository holds."""
    if there is None:
        msg.info(f"{repo} is not there yet, or not to be seen: it is made")
        return
    msg.info(f"{repo} is there: a new commit replaces {sum(name in sizes for name in there)} of its files")
    left = [name for name in there if name not in sizes and name != ATTRIBUTES]
    if left:
        more = f" and {len(left) - _MOST_SHOWN} more" if len(left) > _MOST_SHOWN else ""
        fate = "stay beside the new ones" if keep else "go (the history keeps them; --keep leaves them)"
        msg.warn(f"{len(left)} files of it {fate}: {', '.join(left[:_MOST_SHOWN])}{more}")


def _form(forms: Mapping[str, bool]) -> str:
    """The form that is wanted.

    RAISES (ValueError): P060 unless it is exactly one.
    """
    wanted = [form for form, is_wanted in forms.items() if is_wanted]
    if len(wanted) != 1:
        raise ValueError(Errors.P060.format(got=" and ".join(wanted) or "none of them"))
    return wanted[0]


def _licence(name: str) -> str:
    short = name.strip().lower()
    if not _LICENCE.fullmatch(short):
        raise ValueError(Errors.P065.format(got=name))
    return short


def _loaded(model: str) -> Language:
    if not Path(model).exists() and not util.is_package(model):
        raise ValueError(Errors.P154.format(name=model))
    return spacy.load(model)
