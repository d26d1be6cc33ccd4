"""A model on a server, as one of the component's models: asked like any other, and neither trained nor saved."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thinc.api import Model
from transformers import AutoConfig

from spacy_padellm.backends.dialects import DIALECTS
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.backends.server import Access, load_packages
from spacy_padellm.engine.checkpoint import Reference, load_pieces, save_pieces
from spacy_padellm.engine.language_model import LanguageModel, positions_of
from spacy_padellm.errors import Errors
from spacy_padellm.model.architectures import forward, init
from spacy_padellm.model.chat import ChatTemplate, check_turns
from spacy_padellm.model.shim import CausalLMShim
from spacy_padellm.model.sources import Source
from spacy_padellm.settings import check_number, check_whole
from spacy_padellm.training.targets import TargetTree

RECORD = "served.json"
"""Beside the tokenizer in a pipeline's folder: what must be known of the model before the server is asked."""


def build_completions_server_v1(
    *,
    name: str,
    base_url: str,
    revision: str | None = None,
    served_name: str | None = None,
    server: Literal["auto", "vllm", "sglang", "llama.cpp", "plain"] = "auto",
    api_key_env: str | None = None,
    concurrency: int = 16,
    timeout: float = 60.0,
    connect_timeout: float = 5.0,
    attempts: int = 5,
    longest_wait: float = 10.0,
    max_positions: int | None = None,
    chat: ChatTemplate | None = None,
    trust_remote_code: bool = False,
) -> Model[Sequence[TargetTree], float]:
    """A causal LM that an OpenAI-compatible completions server holds: vLLM, SGLang, llama.cpp, transformers serve.

    The server is asked for the first time when the first text is.

    name (str): Hub id or local folder whose tokenizer is the model's; as `padellm export --merged` writes it.
    base_url (str): Where the server is, up to "/completions": "http://127.0.0.1:8000/v1".
    revision (str | None): Commit, tag or branch on the hub.
    served_name (str | None): What the server calls the model, or an adapter of it; None for the only one it has.
    server (str): What kind of server it is: "vllm", "sglang", "llama.cpp", or "plain" for one that knows nothing beyond
        OpenAI's own form; "auto" for what it says it is.
    api_key_env (str | None): The environment variable that holds the server's key; None for no key.
    concurrency (int): Requests at a time.
    timeout (float): Seconds that an answer may take.
    connect_timeout (float): Seconds that a connection may take.
    attempts (int): How often a request is made before its text counts as failed. What may be over in a moment is tried
        again: no connection, no answer in time, a cut one, statuses 408, 425, 429 and 500 to 504.
    longest_wait (float): Seconds between two attempts, at most. The first wait is a quarter of a second at most, each
        further one up to twice as long, and drawn at random; a server that says when to come again is heeded.
    max_positions (int | None): The most pieces of question and answer; None for what model and server say.
    chat (ChatTemplate | None): As in "spacy-padellm.CausalLM.v1".
    trust_remote_code (bool): Run code that lies beside the tokenizer. Only for models you trust.
    RETURNS (Model[Sequence[TargetTree], float]): The model.
    RAISES (ValueError): P001 for a setting out of range; P070 without the packages of the extra "server".
    """
    if server != "auto" and server not in DIALECTS:
        expected = '"auto" or ' + " or ".join(f'"{one}"' for one in DIALECTS)
        raise ValueError(Errors.P001.format(name="server", expected=expected, got=server))
    check_whole("concurrency", concurrency)
    check_whole("attempts", attempts)
    for setting, seconds in (("timeout", timeout), ("connect_timeout", connect_timeout)):
        check_number(setting, seconds, least=0.001)
    check_number("longest_wait", longest_wait)
    if max_positions is not None:
        check_whole("max_positions", max_positions)
    if chat is not None and not isinstance(chat, ChatTemplate):
        raise ValueError(Errors.P001.format(name="chat", expected='a block "spacy-padellm.ChatTemplate.v1"', got=chat))
    _check_address(base_url)
    access = Access(base_url, api_key_env, concurrency, timeout, connect_timeout, attempts, longest_wait)
    reference = Reference(name, revision, trust_remote_code)
    source = ServedSource(reference, access, served_name, server, max_positions, chat)
    attrs = {"dropout_rate": 0.0, "max_row": 1}
    return Model("padellm_served_lm", forward, init=init, shims=[ServedShim(source)], attrs=attrs)


def _check_address(base_url: str) -> None:
    """RAISES (ValueError): P001 for what is no address, or has more in it than one; P070 without httpx."""
    httpx, _ = load_packages()
    expected, got = "http://HOST... or https://HOST...", base_url
    try:
        found = httpx.URL(base_url)
        is_address = found.scheme in ("http", "https") and bool(found.host)
        if found.userinfo or found.query or found.fragment:
            # A message is no place for a password, and neither is a config.
            expected += ", without a password and without '?' ('api_key_env' names the key)"
            is_address, got = False, "one with such parts"
    except httpx.InvalidURL as error:
        is_address, got = False, f"{base_url!r} ({error})"
    if not is_address:
        raise ValueError(Errors.P001.format(name="base_url", expected=expected, got=got))


@dataclass(frozen=True)
class ServedSource:
    """Where the tokenizer of a served model comes from, and how it is saved: `tokenizer/` and `served.json`."""

    reference: Reference
    access: Access
    served_name: str | None
    server: str
    max_positions: int | None
    chat: ChatTemplate | None

    def create(self) -> ServedModel:
        """RAISES (ValueError): P027 if there is no such tokenizer or config; P036 or P037 for the chat template."""
        pieces = load_pieces(self.reference)
        pieces = self.chat.pieces(pieces) if self.chat else pieces
        check_turns(pieces, self.chat, self.reference.name)
        return self._model(pieces, self.max_positions or self._positions())

    def save(self, model: ServedModel, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_pieces(model.pieces, folder / "tokenizer")
        save_record(folder, model.known_positions)

    def load(self, folder: Path) -> ServedModel:
        pieces = load_pieces(Reference(str(folder / "tokenizer")))
        check_turns(pieces, self.chat, str(folder))
        path = folder / RECORD
        try:
            kept = int(json.loads(path.read_text(encoding="utf8"))["max_positions"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(Errors.P027.format(what="file", name=path, reason=error)) from error
        return self._model(pieces, self.max_positions or kept)

    def _model(self, pieces: Any, max_positions: int) -> ServedModel:
        return ServedModel(
            pieces,
            self.access,
            name=self.reference.name,
            served_name=self.served_name,
            dialect=self.server,
            max_positions=max_positions,
        )

    def _positions(self) -> int:
        reference = self.reference
        try:
            config = AutoConfig.from_pretrained(
                reference.name, revision=reference.revision, trust_remote_code=reference.trust_remote_code
            )
        except (OSError, ValueError) as error:
            raise ValueError(Errors.P027.format(what="config", name=reference.name, reason=error)) from error
        return positions_of(config)


def save_record(folder: Path, max_positions: int) -> None:
    (folder / RECORD).write_text(json.dumps({"max_positions": max_positions}) + "\n", encoding="utf8")


class ServedShim(CausalLMShim):
    """Holds a model that is on a server: there is nothing to train, to average or to move.

    served (ServedSource): Where it is.
    """

    source: Source

    def __init__(self, served: ServedSource) -> None:
        super().__init__(served)  # type: ignore[arg-type]
        self.served = served
        self._served_model: ServedModel | None = None

    @property
    def loaded(self) -> bool:
        return self._served_model is not None

    @property
    def lm(self) -> LanguageModel:
        """RAISES (ValueError): P078, always: its weights are elsewhere."""
        raise ValueError(Errors.P078.format(url=self.served.access.base_url))

    @property
    def backend(self) -> ServedModel:
        """RAISES (ValueError): P010 before the model was initialised or loaded."""
        if self._served_model is None:
            raise ValueError(Errors.P010.format())
        return self._served_model

    def create(self, texts: Sequence[str], questions: Sequence[str]) -> None:
        self._served_model = self.served.create()

    def accumulate(self, trees: Sequence[TargetTree], *, max_row: int, dropout: float) -> float:
        raise ValueError(Errors.P078.format(url=self.served.access.base_url))

    def to_disk(self, path: str | Path) -> None:
        self.served.save(self.backend, Path(path))

    def from_disk(self, path: str | Path) -> "ServedShim":
        self._served_model = self.served.load(Path(path).absolute())
        return self
