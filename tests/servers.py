"""A completions server in the place of others, with faults."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.engine.checkpoint import Reference, load_model
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import own_attention

Fault = Callable[["_Handler", dict[str, Any]], None]
"""Answers a request otherwise than it should be answered. It gets what should be answered."""


class StandIn:
    """A server of the form of vLLM, SGLang, or of nothing but OpenAI's own, over a model of transformers.

    folder (Path): The model, as `padellm export --merged` writes it.
    pieces (Pieces): Its tokenizer.
    owner (str): What it calls itself.
    tells (bool): It tells pieces and probabilities.
    takes_pieces (bool): It takes prompts of numbers.
    """

    def __init__(
        self, folder: Path, pieces: Pieces, *, owner: str = "vllm", tells: bool = True, takes_pieces: bool = True
    ) -> None:
        self.pieces, self.owner, self.tells, self.takes_pieces = pieces, owner, tells, takes_pieces
        self.model = load_model(Reference(str(folder)), dtype=torch.float32, device=torch.device("cpu"))
        self.name = "tiny"
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._model_lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.url = ""

    def start(self, port: int = 0) -> StandIn:
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def n_asked(self) -> int:
        return len(self.seen)

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": self.name, "owned_by": self.owner, "max_model_len": 256}]}

    def begin(self, body: dict[str, Any], headers: dict[str, str]) -> Fault | None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.seen.append(body)
            self.headers.append(headers)
            return self.faults.popleft() if self.faults else self.always

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        if isinstance(prompt, str):
            prompt = self.pieces.tokenizer(prompt).input_ids
        ends = {self.pieces.end, *body.get("stop_token_ids", ())}
        answer, scores = self._greedy(prompt, body["max_tokens"], ends)
        is_full = not (answer and answer[-1] in ends)
        kept = answer if is_full else answer[:-1]
        tokenizer = self.pieces.tokenizer
        choice: dict[str, Any] = {
            "index": 0,
            "text": tokenizer.decode(kept, clean_up_tokenization_spaces=False),
            "finish_reason": "length" if is_full else "stop",
            "logprobs": None,
        }
        if self.tells and body.get("logprobs") is not None:
            choice["logprobs"] = {"tokens": [tokenizer.decode([one]) for one in answer], "token_logprobs": scores}
        if self.tells and body.get("return_token_ids"):
            choice["token_ids"] = answer
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(answer)}
        return {"object": "text_completion", "model": self.name, "choices": [choice], "usage": usage}

    @torch.inference_mode()
    def _greedy(self, prompt: list[int], most: int, ends: set[int]) -> tuple[list[int], list[float]]:
        answer: list[int] = []
        scores: list[float] = []
        with self._model_lock, own_attention(self.model):
            while len(answer) < most and not (answer and answer[-1] in ends):
                logits = self.model(torch.tensor([prompt + answer]), use_cache=False).logits[0, -1].float()
                answer.append(int(logits.argmax()))
                scores.append(float(logits.log_softmax(dim=-1)[answer[-1]]))
        return answer, scores


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.send(200, self.stand_in.models())
        else:
            self.send(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.stand_in.begin(body, {name.lower(): value for name, value in self.headers.items()})
        try:
            if not self.stand_in.takes_pieces and not isinstance(body["prompt"], str):
                self.send(400, {"detail": "prompt must be a string."})
                return
            told = self.stand_in.complete(body)
            if fault is None:
                self.send(200, told)
            else:
                fault(self, told)
        finally:
            self.stand_in.end()

    def send(self, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
        self.send_raw(status, json.dumps(told).encode(), headers)

    def send_raw(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        with suppress(OSError):  # who asked has gone
            self.end_headers()
            self.wfile.write(content)


def gone(handler: _Handler, told: dict[str, Any]) -> None:
    """The connection is lost without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_short(handler: _Handler, told: dict[str, Any]) -> None:
    """Half of the answer, then the connection is lost."""
    content = json.dumps(told).encode()
    handler.close_connection = True
    handler.send_raw(200, content[: len(content) // 2], length=len(content))


def no_json(handler: _Handler, told: dict[str, Any]) -> None:
    handler.send_raw(200, b"<html>busy</html>")


def no_gzip(handler: _Handler, told: dict[str, Any]) -> None:
    handler.send(200, told, {"Content-Encoding": "gzip"})


def no_completion(handler: _Handler, told: dict[str, Any]) -> None:
    handler.send(200, {"object": "text_completion", "choices": []})


def another_model(handler: _Handler, told: dict[str, Any]) -> None:
    handler.send(200, {**told, "model": "other"})


def status(code: int, *, told: str = "not now", **headers: str) -> Fault:
    failure = {"error": {"message": told}}

    def answer(handler: _Handler, told: dict[str, Any]) -> None:
        handler.send(code, failure, {name.replace("_", "-"): headers[name] for name in headers})

    return answer


def slow(seconds: float) -> Fault:
    def answer(handler: _Handler, told: dict[str, Any]) -> None:
        time.sleep(seconds)
        handler.send(200, told)

    return answer
