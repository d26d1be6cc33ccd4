"""The Hugging Face hub: what a repository holds, and how a folder becomes a commit of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from spacy_padellm.errors import Errors

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TOKEN = re.compile(r"[\x21-\x7e]+")

# What the hub's library raises where no answer came depends on what it speaks HTTP with: its own errors' bases tell.
_FAILED: tuple[type[Exception], ...] = (
    *cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__),
    OSError,
    RuntimeError,
    ValueError,
)

_REFUSED = (401, 403)


def check_repo(repo: str) -> None:
    """RAISES (ValueError): P061 for what is no owner and name."""
    problem = "" if repo.count("/") == 1 and all(repo.split("/")) else "it has no owner, or more than one"
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        problem = problem or str(error).rstrip(". ").partition(":")[0]
    if problem:
        raise ValueError(Errors.P061.format(repo=repo, problem=problem))


def find_token(name: str | None) -> str:
    """The token to push with.

    name (str | None): Of the environment variable that holds it; None for the one that the hub's library finds
        (HF_TOKEN, or that of `hf auth login`).
    RAISES (ValueError): P062 if there is none. The message never holds one.
    """
    if name is None:
        token, problem = get_token(), "nobody is logged in at the hub"
        advice = "Log in with `hf auth login`, set HF_TOKEN, or name another environment variable with --token-name."
    elif not _NAME.fullmatch(name) or name.startswith("hf_"):
        # Whoever gives the token itself must not find it in a log.
        token, problem = None, "--token-name got something that is no name of an environment variable"
        advice = "It takes the name of the variable, never the token. If it was one, have the hub make it invalid."
    else:
        token, problem = os.environ.get(name), f"the environment variable {name} is not set"
        advice = "Set it to a token that may write."
    token = (token or "").strip()
    if token and not _TOKEN.fullmatch(token):
        token, problem = "", "what was found holds blanks or other characters that no token has"
    if not token:
        raise ValueError(Errors.P062.format(problem=problem, advice=advice))
    return token


class Commit(NamedTuple):
    """How a folder is pushed.

    private (bool): Of a repository that is made for it; one that is there stays as it is.
    create_pr (bool): Propose the commit rather than make it.
    keep (bool): Leave the files that the repository holds beside those of the folder; they go otherwise.
    """

    message: str
    private: bool = False
    create_pr: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Repository:
    """A model repository of the hub.

    repo (str): Owner and name.
    token (str): Of somebody who may write there.
    branch (str | None): None for the main one.
    """

    repo: str
    token: str = field(repr=False)
    branch: str | None = None

    @property
    def api(self) -> HfApi:
        return HfApi(token=self.token)

    def check_token(self) -> None:
        """Ask the hub whether it knows the token, before anything that takes long.

        RAISES (ValueError): P063 if it does not; P064 or P069 if it cannot be asked.
        """
        with self._told():
            self.api.whoami()

    def files(self) -> list[str] | None:
        """What it holds now, None if it is not there (or is somebody's who does not show it).

        RAISES (ValueError): P063, P064 or P069 if the hub does not tell.
        """
        with self._told():
            try:
                return sorted(self.api.list_repo_files(self.repo, revision=self.branch))
            except RevisionNotFoundError:
                # The branch begins as the main one is.
                return sorted(self.api.list_repo_files(self.repo))
            except RepositoryNotFoundError:
                return None

    def push(self, folder: Path, commit: Commit) -> str:
        """Make the repository, if it is not there, and a commit after which it holds a folder's files.

        RETURNS (str): Where to look at it.
        RAISES (ValueError): P063, P064 or P069 if the hub does not do it.
        """
        with self._told():
            # An organisation may have rules of its own where nothing is said.
            self.api.create_repo(self.repo, private=commit.private or None, exist_ok=True)
            if self.branch is not None:
                self.api.create_branch(self.repo, branch=self.branch, exist_ok=True)
            made: Any = self.api.upload_folder(
                repo_id=self.repo,
                folder_path=folder,
                revision=self.branch,
                commit_message=commit.message,
                create_pr=commit.create_pr or None,
                delete_patterns=None if commit.keep else ["*"],
            )
        return str(made.pr_url or made.commit_url)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong at the hub as an error with a code. The token stands in none."""
        try:
            yield
        except _FAILED as error:
            answered = _answered(error)
            status = None if answered is None else int(answered.response.status_code)  # type: ignore[attr-defined]
            problem = (
                " ".join((str(answered) if answered else ": ".join(_causes(error))).split())
                .replace(self.token, "***")
                .rstrip(".")
            )
            values: dict[str, Any] = {"status": status, "problem": problem, "repo": self.repo}
            if status in _REFUSED:
                message = Errors.P063.format(**values)
            elif (status is not None and status < 500) or isinstance(error, ValueError):
                message = Errors.P069.format(**{**values, "status": status or "what it answered cannot be read"})
            else:
                message = Errors.P064.format(endpoint=self.api.endpoint, **values)
            # The library's error holds the request, and that the token.
            raise ValueError(message) from None


def _causes(error: BaseException | None) -> Iterator[str]:
    """What an error says, and what each one behind it says."""
    while error is not None:
        yield str(error) or type(error).__name__
        error = error.__cause__


def _answered(error: BaseException | None) -> BaseException | None:
    """An error, or the first one behind it, that is about an answer of the hub."""
    while error is not None and getattr(error, "response", None) is None:
        error = error.__cause__
    return error
