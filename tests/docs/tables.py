"""What the blocks of the pages need to run in a test: the one place where a test does otherwise than a page says.

A test of the tables holds each entry to matching something.
"""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """Something of a block that runs in a smaller form.

    pattern (str): A regular expression.
    instead (str): What stands there, as `re.sub` takes it.
    reason (str): Why.
    """

    pattern: str
    instead: str
    reason: str


class Unrun(NamedTuple):
    """A command or block that is not run. `page` and `first` (its first line) tell which."""

    page: str
    first: str
    reason: str


COMMANDS = (
    Change(r"--gpu-id 0\b", "--gpu-id -1", "no GPU"),
    Change(
        r"(-m spacy train \S+)",
        r"\1 --training.max_steps 2 --training.eval_frequency 1",
        "two updates in place of minutes or hours",
    ),
    Change(
        r"--training\.max_steps 60 --training\.eval_frequency 30",
        "--training.max_steps 2 --training.eval_frequency 1",
        "two updates in place of a minute and a half",
    ),
    Change(r"(padellm push .*)", r"\1 --output pushed --force", "no hub: what would be pushed goes to a folder"),
    Change(
        r"FILE OUTPUT\.spacy --format NAME \[--lang zh\] \[--on-error skip\]",
        "mentions.jsonl OUTPUT.spacy --format jsonl --lang zh --on-error skip",
        "a synopsis",
    ),
)
"""Changes of shell commands, one after the other."""

PYTHON = (
    Change(r"displacy\.serve\((.*)\)", r"displacy.render(\1, jupyter=False)", "would wait for a browser"),
    Change(r'snapshot_download\("ada/film-names"\)', '"pushed"', "no hub: the folder that was written"),
    Change(r"\n    \.\.\.", "\n    pass", "a placeholder for what the reader does"),
)
"""Changes of Python blocks."""

PARSED = {
    r"python -m benchmarks\.": "takes minutes or a GPU; tests/benchmarks runs each module in a small form",
    r"python project/scripts/(train_schemes|first_weights)\.py": "trains for minutes; tests/project runs each script",
}
"""Commands, by a regular expression, whose arguments are parsed by the program itself, which is then stopped."""

_SERVER = "another project's server, which a test environment does not have, or waits for requests; tests start some"

UNRUN = (
    Unrun("docs/servers.md", "vllm serve", _SERVER),
    Unrun("docs/servers.md", "python -m sglang.launch_server", _SERVER),
    Unrun("docs/servers.md", "llama-server", _SERVER),
    Unrun("docs/servers.md", "transformers serve", _SERVER),
    Unrun(
        "docs/servers.md", 'import spacy\n\nnlp = spacy.load("served")\nfor doc', "asks the server that is not there"
    ),
    Unrun(
        "docs/benchmarks.md",
        "for P in English Compact; do",
        "a loop over trainings; the two scripts are parsed where they stand alone, and tests/project runs them",
    ),
    Unrun(
        "docs/cluster.md", "ray start --head", "starts what outlives the test; tests/cluster has a cluster of its own"
    ),
    Unrun("docs/cluster.md", "python -m spacy padellm annotate MODEL s3://", "needs a bucket and a cluster with GPUs"),
)
"""What is not run at all."""

SHARE_UNRUN = 0.1
"""The largest part of all commands and Python blocks that may be in `UNRUN`."""

WARN = {
    "docs/labels.md": r"\[W0(01|02)\]",
    "docs/long_texts.md": r"\[W0(01|10)\]",
    "docs/debugging.md": r"\[W001\]",
    "docs/performance.md": r"\[W001\]",
    "docs/sharing.md": r"\[W0(01|02)\]",
    "README.md": r"\[W001\]",
}
"""Warnings that Python blocks of a page may give: the pipeline of the tests is small and knows four sentences."""

NO_LANGUAGE: dict[str, str] = {}
"""Pages with fences that name no language, and why. A drawing is ```text."""
