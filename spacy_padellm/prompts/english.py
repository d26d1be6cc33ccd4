"""The paper's English format."""

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.settings import check_whole


def build_english_prompt_v1(*, label_words: dict[str, str] | None = None, repeat_text: int = 1) -> Prompt:
    """The English prompt of PaDeLLM-NER (Lu et al., NeurIPS 2024), plain text without added special tokens.

    The words for the three other schemes are our own.

    label_words (dict[str, str] | None): Words in the prompt for label names, e.g. {"LOC": "location"}.
    repeat_text (int): How often the text stands in the trunk; the paper has it once.
    RETURNS (Prompt): The prompt.
    RAISES (ValueError): P001 if repeat_text is below 1.
    """
    check_whole("repeat_text", repeat_text)
    return Prompt(
        before_text="text:\n",
        after_text="\n",
        before_label="entity type:\n",
        after_label="\n\n<num>",
        before_ordinal="\n<mention ",
        after_ordinal=">",
        after_listed="\n\n<mentions>",
        before_labels="entity types:\n",
        between_labels=", ",
        after_paired="\n\n<entities>",
        after_marked="\n\n<marked text>",
        label_words=dict(label_words or {}),
        repeat_text=repeat_text,
    )
