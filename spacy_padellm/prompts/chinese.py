"""The paper's Chinese format."""

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.settings import check_whole

LABEL_WORDS = {
    "PER": "人名",
    "LOC": "地名",
    "ORG": "机构名",
    "GPE": "地缘政治实体",
    "PER.NAM": "人名特指",
    "PER.NOM": "人名泛指",
    "LOC.NAM": "地名特指",
    "LOC.NOM": "地名泛指",
    "ORG.NAM": "机构名特指",
    "ORG.NOM": "机构名泛指",
    "GPE.NAM": "地缘政治实体特指",
    "GPE.NOM": "地缘政治实体泛指",
    "NAME": "姓名",
    "CONT": "国籍",
    "RACE": "民族",
    "TITLE": "职称",
    "EDU": "学历",
    "PRO": "专业",
    "TELEVISION": "影视作品",
    "MISC": "其他",
    "HC": "商品",
    "HP": "品牌",
}
"""Words for the labels of the Chinese data sets the paper uses, in our own translation."""


def build_chinese_prompt_v1(*, label_words: dict[str, str] | None = None, repeat_text: int = 1) -> Prompt:
    """The Chinese prompt of PaDeLLM-NER (Lu et al., NeurIPS 2024), plain text without added special tokens.

    The words for the three other schemes are our own.

    label_words (dict[str, str] | None): Words in the prompt for label names; they add to and override `LABEL_WORDS`.
    repeat_text (int): How often the text stands in the trunk; the paper has it once.
    RETURNS (Prompt): The prompt.
    RAISES (ValueError): P001 if repeat_text is below 1.
    """
    check_whole("repeat_text", repeat_text)
    return Prompt(
        before_text="文本:\n",
        after_text="\n",
        before_label="指定NER标签:\n",
        after_label="\n\n<数量>",
        before_ordinal="\n<第",
        after_ordinal="文段>",
        after_listed="\n\n<文段>",
        before_labels="指定NER标签:\n",
        between_labels="、",
        after_paired="\n\n<实体>",
        after_marked="\n\n<标注文本>",
        label_words={**LABEL_WORDS, **(label_words or {})},
        repeat_text=repeat_text,
        before_description="：",
        before_examples="（例如：",
        between_examples="、",
        after_examples="）",
    )
