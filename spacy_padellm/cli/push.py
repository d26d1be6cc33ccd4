"""`python -m spacy padellm push`: a pipeline, or its model, to the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.folders import written_whole
from spacy_padellm.errors import Errors

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
    forms = {"--pipeline": pipeline, "--adapter": adapter, "--merged": merged, "--as-is": as_is}
    with coded_errors():
        form = _form(forms, pipe=pipe, dtype=dtype, dequantize=dequantize)
        if create_pr and branch is not None:
            raise ValueError(Errors.P001.format(name="branch", expected="nothing with --create-pr", got=branch))
        setup_gpu(gpu_id, silent=True)
        # Every command of spaCy imports this module, and what is imported here takes seconds.
        from spacy_padellm.sharing.card import Said
        from spacy_padellm.sharing.hub import Repository, check_repo, find_token
        from spacy_padellm.sharing.written import write_repository

        check_repo(repo)
        nlp = _loaded(model)
        named = _licence(licence or str(nlp.meta.get("license") or ""))
        said = Said(repo, named, tuple(language), about_data, tuple(dataset), branch)
        target = None
        if output is None:
            target = Repository(repo, find_token(token_name), branch)
            target.check_token()
        with _folder(output, force, model) as folder:
            changed = write_repository(
                nlp, folder, form, said, metrics=metrics, pipe=pipe, dtype=dtype, dequantize=dequantize, base=base_model
            )
            there = None if target is None else target.files()
            _list(folder, repo, changed, there, keep)
            if target is not None:
                if not yes:
                    typer.confirm("Push this?", abort=True)
                told = message or f"spacy-padellm: {form.removeprefix('--')} of {nlp.meta['lang']}_{nlp.meta['name']}"
                place = target.push(folder, message=told, private=private, create_pr=create_pr, keep=keep)
    msg.good(f"Wrote {output}, pushed nothing" if target is None else f"Pushed: {place}")


def _form(forms: dict[str, bool], *, pipe: str | None, dtype: str | None, dequantize: bool) -> str:
    """The form that is wanted.

    RAISES (ValueError): P060 unless it is exactly one; P001 for a setting that it does not have.
    """
    wanted = [form for form, is_wanted in forms.items() if is_wanted]
    if len(wanted) != 1:
        raise ValueError(Errors.P060.format(got=" and ".join(wanted) or "none of them"))
    (form,) = wanted
    of_weights = {"dtype": dtype, "dequantize": dequantize} if form in ("--adapter", "--as-is") else {}
    of_pipe = {"pipe": pipe} if form == "--as-is" else {}
    for name, got in {**of_weights, **of_pipe}.items():
        if got:
            raise ValueError(Errors.P001.format(name=name, expected=f"nothing with {form}", got=got))
    return form


def _licence(name: str) -> str:
    short = name.strip().lower()
    if not _LICENCE.fullmatch(short):
        raise ValueError(Errors.P065.format(got=name))
    return short


def _loaded(model: str) -> spacy.Language:
    if not Path(model).exists() and not util.is_package(model):
        raise ValueError(Errors.P154.format(name=model))
    return spacy.load(model)


@contextmanager
def _folder(output: Path | None, force: bool, model: str) -> Iterator[Path]:
    """The folder to write: one that stays, or one that is gone when the push is done."""
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        with written_whole(output, force=force, sources=[Path(model)] if Path(model).exists() else []) as whole:
            yield whole


def _list(folder: Path, repo: str, changed: Sequence[str], there: list[str] | None, keep: bool) -> None:
    """Say what goes to the hub, and what becomes of what is there."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }
    msg.table(
        [*((name, f"{size:,}") for name, size in sizes.items()), ("all", f"{sum(sizes.values()):,}")],
        header=("file", "bytes"),
        divider=True,
        aligns=("l", "r"),
        max_col=200,
    )
    if changed:
        msg.info(f"Names of folders of this machine were taken out of {', '.join(changed)}")
    if there is None:
        return
    left = [name for name in there if name not in sizes and name != ".gitattributes"]
    replaced = sum(name in sizes for name in there)
    msg.info(f"{repo} is there: a new commit replaces {replaced} of its files")
    if left:
        more = f" and {len(left) - _MOST_SHOWN} more" if len(left) > _MOST_SHOWN else ""
        fate = "stay beside the new ones" if keep else "go (the history keeps them; --keep leaves them)"
        msg.warn(f"{len(left)} files of it {fate}: {', '.join(left[:_MOST_SHOWN])}{more}")
