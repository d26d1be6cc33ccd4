"""Two processes that train together, forked from a test: what they say is compared with what one process does."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch

from spacy_padellm.training.peers import Peers, join

_SECONDS = 120


def together(job: Callable[[Peers], Any], *, count: int = 2) -> list[Any]:
    """Do a job in some processes that have met, on the loopback device. The job may be nested: processes are forked.

    job (Callable[[Peers], Any]): What each does. What it returns can be pickled.
    count (int): How many processes.
    RETURNS (list[Any]): What each returned, by number.
    """
    told = lives(job, count=count)
    problems = [problem for problem, _ in told if problem]
    assert not problems, "\n".join(problems)
    return [found for _, found in told]


def lives(job: Callable[[Peers], Any], *, count: int = 2) -> list[tuple[str, Any]]:
    """The same where some may not come to an end. RETURNS (list[tuple[str, Any]]): What each met, or "", and
    returned."""
    context = multiprocessing.get_context("fork")
    port = _free_port()
    ends = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_live, args=(job, number, count, port, end), daemon=True)
        for number, (_, end) in enumerate(ends)
    ]
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; torch is held to one thread here.
        warnings.simplefilter("ignore", DeprecationWarning)
        for child in children:
            child.start()
    for _, end in ends:
        end.close()
    try:
        return [_heard(end, number) for number, (end, _) in enumerate(ends)]
    finally:
        for child in children:
            child.join(timeout=10)
            child.kill()


def _heard(end: Any, number: int) -> tuple[str, Any]:
    if not end.poll(_SECONDS):
        return f"Process {number} said nothing for {_SECONDS} seconds.", None
    try:
        heard: tuple[str, Any] = end.recv()
        return heard
    except EOFError:
        return f"Process {number} ended without a word.", None


def _live(job: Callable[[Peers], Any], number: int, count: int, port: int, end: Any) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        OMP_NUM_THREADS="1",
    )
    torch.set_num_threads(1)
    try:
        end.send(("", job(join())))
    except BaseException:
        end.send((traceback.format_exc(), None))
    # Neither pytest's nor torch's farewell is for a fork.
    end.close()
    os._exit(0)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
