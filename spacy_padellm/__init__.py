"""Named entity recognition with large language models that decode all mentions of a text in parallel.

The package registers its parts with spaCy through entry points (`setup.py`), so users import nothing: they write
`nlp.add_pipe("padellm_ner")`. Importing it loads neither spaCy nor torch nor transformers.
"""

import logging

from spacy_padellm.about import __version__

logging.getLogger("spacy_padellm").addHandler(logging.NullHandler())
# What is logged here holds texts: it is told only to those who set this very logger's level.
logging.getLogger("spacy_padellm.io").setLevel(logging.CRITICAL)

__all__ = ["__version__"]
