"""A completions server: requests to it, and what is done when it does not answer."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from spacy_padellm.backends.dialects import Completion, read_completion
from spacy_padellm.errors import Errors

LOGGER = logging.getLogger(__name__)

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""What a server answers that may answer otherwise in a moment."""

_NOT_THERE = (404, 405)
"""What a server answers at an address that it does not have."""

_KEY = re.compile(r"[\x21-\x7e]+")

_SHOWN = 200
"""Characters of a server's own message that are shown."""


@dataclass(frozen=True)
class Access:
    """How a server is reached.

    base_url (str): Up to `/completions`, for instance "http://127.0.0.1:8000/v1".
    api_key_env (str | None): The environment variable that holds the key; None for no key.
    concurrency (int): Requests at a time.
    timeout (float): Seconds that an answer may take.
    connect_timeout (float): Seconds that a connection may take.
    attempts (int): How often a request is made before it counts as failed.
    longest_wait (float): Seconds between two attempts, at most, where the server does not name them itself.
    """

    base_url: str
    api_key_env: str | None = None
    concurrency: int = 16
    timeout: float = 60.0
    connect_timeout: float = 5.0
    attempts: int = 5
    longest_wait: float = 10.0


class _Passing(Exception):
    """A failure that may be over in a moment.

    wait (float | None): Seconds after which the server wants to be asked again, if it says so.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
        self.attempt = 1


class NoAnswer(ValueError):
    """P073: a request was not answered in all attempts."""


class Refused(ValueError):
    """A request that a server does not take (P079), with the status of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def load_packages() -> tuple[ModuleType, ModuleType]:
    """httpx and tenacity.

    RAISES (ValueError): P070 if one of them is not installed.
    """
    try:
        import httpx
        import tenacity
    except ImportError as error:
        what = 'The architecture "spacy-padellm.CompletionsServer.v1"'
        raise ValueError(Errors.P070.format(what=what, extra="server", problem=error)) from error
    return httpx, tenacity


class Server:
    """Makes requests, from several threads at a time.

    access (Access): How the server is reached.
    RAISES (ValueError): P070 without httpx or tenacity.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._httpx, self._tenacity = load_packages()
        self._process = os.getpid()

    @cached_property
    def _key(self) -> str:
        """The key, empty for none."""
        name = self.access.api_key_env
        if name is None:
            return ""
        key = os.environ.get(name, "").strip()
        if not _KEY.fullmatch(key):
            # What httpx says of a header that it cannot send has the key in it.
            problem = "holds blanks or other characters that no key has" if key else "is not set"
            raise ValueError(Errors.P076.format(name=name, problem=problem))
        return key

    @cached_property
    def _client(self) -> Any:
        access, httpx = self.access, self._httpx
        client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(access.timeout, connect=access.connect_timeout),
            limits=httpx.Limits(max_connections=access.concurrency, max_keepalive_connections=access.concurrency),
        )
        weakref.finalize(self, client.close)
        return client

    @property
    def is_ours(self) -> bool:
        """Whether this process opened it. Connections do not survive a fork."""
        return self._process == os.getpid()

    def models(self) -> list[dict[str, Any]]:
        """The models it has; none if it does not say.

        RAISES (ValueError): P072 if it cannot be reached, or has nothing at that address; P076 without the key; P079 if
            it refuses.
        """
        try:
            told = self._request("GET", "/models", read=lambda told: told)
        except _Passing as error:
            raise ValueError(Errors.P072.format(url=self.access.base_url, reason=error)) from error
        except Refused as error:
            if error.status not in _NOT_THERE:
                raise
            raise ValueError(Errors.P072.format(url=self.access.base_url, reason=error)) from error
        found = told.get("data") if isinstance(told, dict) else None
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def complete(
        self, body: Mapping[str, Any], left: threading.Event | None = None, attempts: int | None = None
    ) -> Completion:
        """One completion.

        left (threading.Event | None): Once it is set nobody waits for the answer, and no failed request is made again.
        attempts (int | None): How often it is asked for at most; None for as often as `access` says.
        RAISES (ValueError): P073 if it did not come in all attempts; P076 without the key; P079 if it was refused.
        """
        try:
            found: Completion = self._request(
                "POST", "/completions", body, read=read_completion, left=left, attempts=attempts
            )
            return found
        except _Passing as error:
            told = Errors.P073.format(url=self.access.base_url, attempts=error.attempt, reason=error)
            raise NoAnswer(told) from error

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        read: Callable[[Any], Any],
        left: threading.Event | None = None,
        attempts: int | None = None,
    ) -> Any:
        """What stands in an answer, after as many attempts as may be made."""
        tenacity, access, left = self._tenacity, self.access, left or threading.Event()
        most = attempts or access.attempts
        backing_off = tenacity.wait_random_exponential(multiplier=0.25, max=access.longest_wait)

        def wait(state: Any) -> float:
            failure = state.outcome.exception()
            return float(backing_off(state) if failure.wait is None else failure.wait)

        def ended(state: Any) -> bool:
            state.outcome.exception().attempt = state.attempt_number
            return bool(state.attempt_number >= most or left.is_set())

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            stop=ended,
            wait=wait,
            sleep=tenacity.sleep_using_event(left),
            before_sleep=tenacity.before_sleep_log(LOGGER, logging.WARNING),
            reraise=True,
        )
        return retrying(self._try, method, path, body, read)

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], Any]) -> Any:
        httpx, url = self._httpx, self.access.base_url.rstrip("/") + path
        try:
            response = self._client.request(method, url, json=None if body is None else dict(body))
        except httpx.RequestError as error:
            raise _Passing(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if response.status_code in _PASSING:
            reason = f"status {response.status_code}: {self._message(response.text)}"
            raise _Passing(reason, _retry_after(response.headers, self.access.longest_wait))
        if response.status_code != 200:
            told = self._message(response.text)
            raise Refused(response.status_code, Errors.P079.format(url=url, status=response.status_code, told=told))
        try:
            return read(response.json())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _Passing(f"no JSON: {response.text[:_SHOWN]!r}") from error
        except ValueError as error:
            raise _Passing(str(error)) from error

    def _message(self, text: str) -> str:
        """What a server says of a failure, without its frame where it has a known one, and without the key."""
        try:
            told = json.loads(text)
            inner = told.get("error", told)
            text = str(inner.get("message", inner)) if isinstance(inner, dict) else str(inner)
        except (ValueError, AttributeError):
            pass
        return (text.replace(self._key, "***") if self._key else text)[:_SHOWN]


def _retry_after(headers: Mapping[str, str], longest: float) -> float | None:
    """The seconds that a server wants to be left alone, no more than `longest` (a date is not read)."""
    try:
        return max(0.0, min(float(headers["retry-after"]), longest))
    except (KeyError, ValueError):
        return None
