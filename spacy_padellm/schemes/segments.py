"""The segments that a scheme's questions are made of, for a tokenizer that is trained on them."""

from collections.abc import Mapping

from spacy_padellm.types import Scheme, Words


def prompt_segments(scheme: Scheme, labels: Mapping[str, Words]) -> list[str]:
    """The segments that stand in most trees: around a text, the questions about labels and a few mentions.

    scheme (Scheme): Who asks.
    labels (Mapping[str, Words]): Name to words in the prompt.
    RETURNS (list[str]): Each once.
    """
    branches = scheme.ask(labels)
    # As many mentions as have a digit of their own, or one where the scheme's limit is lower.
    follows = [follow for branch in branches for follow in scheme.follow(branch, "9") or scheme.follow(branch, "1")]
    segments = [*scheme.trunk(""), *(branch.question for branch in [*branches, *follows])]
    segments += [scheme.answer(branch, []) for branch in branches if branch.form]
    return list(dict.fromkeys(segment for segment in segments if segment))
