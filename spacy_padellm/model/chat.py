"""A model's chat template as a config block."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.turns import turns_of
from spacy_padellm.errors import Errors

_OURS = ("conversation", "messages", "tokenize", "add_generation_prompt", "chat_template", "continue_final_message")
"""What only the component itself sets."""


@dataclass(frozen=True)
class ChatTemplate:
    """Questions are asked as turns of a chat, in the template that comes with the model.

    system (str | None): What the system turn says; None for no such turn.
    settings (Mapping[str, Any]): Variables of the template.
    """

    system: str | None
    settings: Mapping[str, Any]

    def pieces(self, pieces: Pieces) -> Pieces:
        """A model's tokenizer, with its chat template.

        RAISES (ValueError): P036 if the template cannot be used.
        """
        turns = turns_of(pieces.tokenizer, system=self.system, settings=self.settings, name=pieces.name)
        return Pieces(pieces.tokenizer, leading_blank=pieces.leading_blank, name=pieces.name, turns=turns)


def build_chat_template_v1(*, system: str | None = None, settings: dict[str, Any] | None = None) -> ChatTemplate:
    """The chat template of an instruct model, for `spacy-padellm.CausalLM.v1`.

    The text and a question about it are the user's turn; the model's turn begins with the answer. A text is plain text
    there, too: special tokens in it are none. What the template writes when a pipeline is initialised is saved with it.

    system (str | None): What the system turn says; None for no such turn.
    settings (dict[str, Any] | None): Variables of the template, for instance {"enable_thinking": false}.
    RETURNS (ChatTemplate): The settings.
    RAISES (ValueError): P001 for a variable that the component sets itself.
    """
    taken = sorted({*(settings or {})} & {*_OURS})
    if taken:
        expected = f"variables of the template other than {', '.join(_OURS)}"
        raise ValueError(Errors.P001.format(name="chat.settings", expected=expected, got=", ".join(taken)))
    return ChatTemplate(system, dict(settings or {}))


def check_turns(pieces: Pieces, chat: ChatTemplate | None, name: str) -> None:
    """A model is asked as it was trained.

    RAISES (ValueError): P037 if it was trained with a chat template and is to be asked without, or the reverse.
    """
    if (pieces.turns is None) != (chat is None):
        words = ("in plain text", "with a chat template")
        trained, asked = words[pieces.turns is not None], words[chat is not None]
        raise ValueError(Errors.P037.format(name=name, trained=trained, asked=asked))
