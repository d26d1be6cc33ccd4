"""What a chat template puts around a question and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerFast

from spacy_padellm.errors import Errors

_ASKED, _ANSWERED = "QUESTION-GOES-HERE", "ANSWER-GOES-HERE"
"""Contents that no template has words of, and that begin and end with what no template trims."""


class Turns(NamedTuple):
    """The parts of a chat template, special tokens among them, as the template writes them.

    They are kept with a pipeline and not rendered anew, because templates may write the day's date.

    opening (str): In front of the text: a system turn, if any, and the beginning of the user's turn.
    closing (str): Behind a question: the end of the user's turn and the beginning of the model's.
    ending (str): Behind an answer.
    """

    opening: str
    closing: str
    ending: str


def turns_of(
    tokenizer: PreTrainedTokenizerFast, *, system: str | None, settings: Mapping[str, Any], name: str
) -> Turns:
    """Take apart what a tokenizer's chat template makes of a question and an answer.

    system (str | None): What the system turn says; None for no such turn.
    settings (Mapping[str, Any]): Variables of the template, for instance {"enable_thinking": False}.
    name (str): The model, for messages.
    RAISES (ValueError): P036 if there is no template, it refuses these turns, or it has no such variable.
    """
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": _ASKED})
    try:
        template = tokenizer.get_chat_template()
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **settings)
        turns.append({"role": "assistant", "content": _ANSWERED})
        answered = tokenizer.apply_chat_template(turns, tokenize=False, **settings)
    except Exception as error:  # templates raise whatever they like
        raise ValueError(Errors.P036.format(name=name, reason=error)) from error
    # A variable that a template does not have is dropped without a word.
    unknown = [setting for setting in settings if not re.search(rf"\b{re.escape(setting)}\b", template)]
    if unknown:
        raise ValueError(Errors.P036.format(name=name, reason=f"it has no variable {', '.join(unknown)}"))
    if asked.count(_ASKED) != 1 or answered.count(_ANSWERED) != 1:
        raise ValueError(Errors.P036.format(name=name, reason="it does not write each turn once, as it is given"))
    opening, closing = asked.split(_ASKED)
    return Turns(opening, closing, answered.split(_ANSWERED)[1])
