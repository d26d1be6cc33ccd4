"""The schemes by the names that commands take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from spacy_padellm.prompts.template import Prompt
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Scheme

SCHEMES: Mapping[str, Callable[[Prompt], Scheme]] = MappingProxyType(
    {"padellm": PaDeLLM, "one_step": OneStep, "structured": AutoRegStruct, "augmented": AutoRegAug}
)
