"""A prompt of few pieces, for many labels."""

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.settings import check_whole


def build_compact_prompt_v1(*, label_words: dict[str, str] | None = None, repeat_text: int = 1) -> Prompt:
    """A prompt of our own in any language: no words but those of labels, and one mark wherever something has to end.

        text         "\\n{text}\\n"
        label        "{label}:"      behind it the count, which a model would otherwise take for a part of the label
        mention      "#{k}:"         "#" begins no count, so that it can end one; ":" ends the ordinal, which would
                                     otherwise run into a mention that begins with a digit
        other schemes  "{label}="  "{label}, {label}->"  "{label}, {label}=>"
        a label that is explained  "{label} - {description} ({example}, {example}):"

    With hundreds of labels the paper's question about a label is most of what is computed: this one is the label's
    words and one piece.

    label_words (dict[str, str] | None): Words in the prompt for label names, e.g. {"LOC": "location"}.
    repeat_text (int): How often the text stands in the trunk; the paper has it once.
    RETURNS (Prompt): The prompt.
    RAISES (ValueError): P001 if repeat_text is below 1.
    """
    check_whole("repeat_text", repeat_text)
    return Prompt(
        # A first piece that is always the same: of the text's own first piece something must stand in front.
        before_text="\n",
        after_text="\n",
        before_label="",
        after_label=":",
        before_ordinal="#",
        after_ordinal=":",
        after_listed="=",
        before_labels="",
        between_labels=", ",
        after_paired="->",
        after_marked="=>",
        label_words=dict(label_words or {}),
        repeat_text=repeat_text,
        before_description=" - ",
        before_examples=" (",
    )
