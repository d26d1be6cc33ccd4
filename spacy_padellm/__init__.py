"""Named entity recognition with large language models that decode all mentions of a text in parallel.

The package registers its parts with spaCy through entry points (`setup.py`), so users import nothing: they write
`nlp.add_pipe("padellm_ner")`. Importing it loads neither spaCy nor torch nor transformers.
"""

from spacy_padellm.about import __version__

__all__ = ["__version__"]
