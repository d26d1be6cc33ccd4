"""`python -m spacy padellm`: the package's commands, one a file.

spaCy loads the entry point for its side effect and does nothing with what comes back, so the commands attach
themselves here.
"""

from spacy.cli._util import app as spacy_app

from spacy_padellm.cli import annotate, calibrate, convert, debug, evaluate, export, push, serve, train, tree
from spacy_padellm.cli.root import app

spacy_app.add_typer(app)

__all__ = ["annotate", "app", "calibrate", "convert", "debug", "evaluate", "export", "push", "serve", "train", "tree"]
