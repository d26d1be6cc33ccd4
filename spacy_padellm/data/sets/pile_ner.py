"""Pile-NER-type: what the paper trains on for labels that a model has never seen."""

from __future__ import annotations

from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet, PublishedFile

_URL = "https://huggingface.co/datasets/Universal-NER/Pile-NER-type/resolve/18a67ca98e0300c0822a649dbf9729cdb9ea9438"

PILE_NER = DataSet(
    name="pile_ner",
    title="Pile-NER-type",
    lang="en",
    format="conversations",
    files=MappingProxyType({"train": (PublishedFile("pile_ner/train.json", url=f"{_URL}/train.json"),)}),
    labels=MappingProxyType({}),
    licence="CC-BY-NC-4.0, made with a model of OpenAI",
    citation=(
        "Zhou W. et al., UniversalNER: Targeted Distillation from Large Language Models for Open Named Entity "
        "Recognition, ICLR 2024, https://arxiv.org/abs/2308.03279"
    ),
    split="train only, not counted; dev is 500 of it, and there is no test part: it is for training on many labels",
    nested=True,
    dev_size=500,
)

ENTRIES = (PILE_NER,)
