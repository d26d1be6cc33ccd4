"""Answers from gold, paid for with every forward pass of a model: what a scheme costs if the model is perfect."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from spacy_padellm.backends.local import Text, answer_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.types import Answered, Branch, Mention, Scheme, Words


def replay_texts(
    lm: LanguageModel,
    scheme: Scheme,
    labels: Mapping[str, Words],
    texts: Sequence[Text],
    gold: Sequence[Sequence[Mention]],
    *,
    decoding: Decoding,
    counters: Counters,
) -> list[list[Answered]]:
    """Ask a scheme's questions and put gold answers in place of the model's.

    gold (Sequence[Sequence[Mention]]): For each text its mentions in text order; the rest as in `answer_texts`.
    RETURNS (list[list[Answered]]): For each text its answered branches; probabilities are the model's own.
    """
    scripts = [functools.partial(_give, scheme, mentions) for mentions in gold]
    return answer_texts(lm, scheme, labels, texts, decoding=decoding, counters=counters, scripts=scripts)


def _give(scheme: Scheme, gold: Sequence[Mention], branch: Branch) -> str:
    return scheme.answer(branch, gold)
