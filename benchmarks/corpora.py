"""A file of documents with what a benchmark must know of it: language, prompt and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.documents import Document, labels_of, read_documents
from spacy_padellm.data.catalogue import CATALOGUE
from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.prompts.template import Prompt

Language = Literal["en", "zh"]
Words = Literal["catalogue", "names"]


@dataclass(frozen=True)
class Corpus:
    """Documents and how they are asked about.

    name (str): The data set: the folder's name where the catalogue knows it, else the file's.
    language (str): "en" or "zh"; it decides the prompt.
    documents (list[Document]): Those with at least one token.
    labels (dict[str, str]): Name to words in the prompt, in the order asked.
    prompt (Prompt): The words of the questions.
    """

    name: str
    language: str
    documents: list[Document]
    labels: dict[str, str]
    prompt: Prompt


def read_corpus(
    path: Path,
    *,
    limit: int | None = None,
    language: Language | None = None,
    words: Words = "catalogue",
    readings: int = 1,
) -> Corpus:
    """Read a file of documents.

    path (Path): A file as `read_documents` takes it. A file in a folder that is named as a data set of the
        catalogue gets that set's language and labels; of any other file every label that occurs is asked about.
    limit (int | None): Read the first documents only.
    language (str | None): The prompt's language, where it is not the data set's.
    words (str): "catalogue" for the words that the catalogue has for a label, "names" for the labels' names.
    readings (int): How often the text stands in the trunk.
    RETURNS (Corpus): The documents.
    """
    entry = CATALOGUE.get(path.resolve().parent.name)
    spoken = language or (entry.lang if entry else "en")
    documents = read_documents(path, limit, language=spoken)
    prompt = (build_chinese_prompt_v1 if spoken == "zh" else build_english_prompt_v1)(repeat_text=readings)
    known = dict(entry.labels) if entry else {}
    labels = known | {label: prompt.words(label) for label in labels_of(documents) if label not in known}
    if words == "names":
        labels = {label: label for label in labels}
    return Corpus(entry.name if entry else path.stem, spoken, documents, labels, prompt)
