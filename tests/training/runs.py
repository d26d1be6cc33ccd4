"""Small trainings: a config with our pipe beside others, its corpora, and runs of it that can be cut short."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import spacy
import srsly
from safetensors.numpy import load_file
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config, registry

from spacy_padellm.training.checkpoint import FOLDER, Checkpoints
from spacy_padellm.training.loop import Outcome, train
from spacy_padellm.training.peers import ALONE, Peers
from spacy_padellm.training.start import Start, start

NAMES, CITIES = ["Ada", "Hugo", "Nadim", "Mary Ann", "Yuki"], ["Paris", "New York", "Boston", "Oslo"]
FORMS = ["{} lives in {}.", "Did {} fly to {} ?", "In {1} they met {0}.", "{0} saw {0}, not {1}!"]

CONFIG = """
[paths]
train = null
dev = null

[system]
seed = 3

[nlp]
lang = "en"
pipeline = ["tok2vec", "textcat", "padellm_ner"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
width = 16
depth = 1
embed_size = 50
window_size = 1
maxout_pieces = 2
subword_features = true
pretrained_vectors = null

[components.textcat]
factory = "textcat"

[components.textcat.model]
@architectures = "spacy.TextCatEnsemble.v2"
nO = null

[components.textcat.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[components.textcat.model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
ngram_size = 1
no_output_layer = false
length = 256

[components.padellm_ner]
factory = "padellm_ner"
copy_share = 0.3
max_answer = 6

[components.padellm_ner.scheme]
@misc = "spacy-padellm.PaDeLLM.v1"
max_mentions = 2

[components.padellm_ner.label_draw]
@misc = "spacy-padellm.LabelDraw.v1"
absent = 1
dropout = 0.2
shuffle = true

[components.padellm_ner.model]
@architectures = "spacy-padellm.FreshCausalLM.v1"
hidden_size = 16
n_layers = 2
n_heads = 2
intermediate_size = 32
vocab_size = 300
max_positions = 256
device = "cpu"

[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${paths.train}

[corpora.train.augmenter]
@augmenters = "spacy-padellm.MentionSwap.v1"
share = 0.5
settle_after = 40

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.dev}

[training]
seed = ${system.seed}
gpu_allocator = null
dropout = 0.1
accumulate_gradient = 2
patience = 0
max_epochs = 0
max_steps = 14
eval_frequency = 5

[training.logger]
@loggers = "tests.Stopper.v1"
stop_at = -1
how = "signal"

[training.batcher]
@batchers = "spacy.batch_by_sequence.v1"

[training.batcher.size]
@schedules = "compounding.v1"
start = 2
stop = 8
compound = 1.1

[training.optimizer]
@optimizers = "Adam.v1"
use_averages = true

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 3
total_steps = 40
initial_rate = 0.01

[initialize]

[training.score_weights]
ents_f = 0.5
cats_score = 0.5
"""


class Stop(Exception):
    """What a stopper raises."""


@registry.loggers("tests.Stopper.v1")
def build_stopper(stop_at: int, how: str) -> Callable[..., Any]:
    """A logger that ends a training with its update `stop_at`: by a signal's name, "SIGTERM", or by an error."""

    def make(nlp: Language, stdout: IO[str], stderr: IO[str]) -> tuple[Callable[..., None], Callable[[], None]]:
        steps = itertools.count()

        def log(told: dict[str, Any] | None) -> None:
            if told is not None:
                steps_of.append((told["step"], told["score"], told["seconds"]))
            if next(steps) == stop_at:
                if how == "error":
                    raise Stop
                os.kill(os.getpid(), getattr(signal, how))

        steps_of: list[Any] = []
        return log, lambda: None

    return make


@registry.augmenters("tests.Restless.v1")
def build_restless() -> Callable[[Language, Example], Iterator[Example]]:
    """An augmenter that draws from Python's own `random`."""

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        if random.random() < 0.7:
            yield example

    return augment


@registry.augmenters("tests.Unseeded.v1")
def build_unseeded() -> Callable[[Language, Example], Iterator[Example]]:
    """An augmenter whose draws nobody can repeat."""
    draw = random.SystemRandom()

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        if draw.random() < 0.5:
            yield example

    return augment


def write_corpora(folder: Path, *, count: int = 24, first: int = 0) -> dict[str, Any]:
    """Write train.spacy and dev.spacy. RETURNS (dict[str, Any]): The overrides of the config that name them."""
    nlp = spacy.blank("en")
    docs = []
    for number in range(first, first + count):
        name, city = NAMES[number % len(NAMES)], CITIES[number % len(CITIES)]
        doc = nlp.make_doc(FORMS[number % len(FORMS)].format(name, city))
        spans = [span for word, label in ((name, "person"), (city, "city")) for span in _spans(doc, word, label)]
        doc.set_ents(spans)
        doc.cats = {"question": float("?" in doc.text), "statement": float("?" not in doc.text)}
        docs.append(doc)
    DocBin(docs=docs).to_disk(folder / "train.spacy")
    DocBin(docs=docs[:6]).to_disk(folder / "dev.spacy")
    return {"paths.train": str(folder / "train.spacy"), "paths.dev": str(folder / "dev.spacy")}


def _spans(doc: Doc, word: str, label: str) -> list[Any]:
    starts = [place for place in range(len(doc.text)) if doc.text.startswith(word, place)]
    return [doc.char_span(place, place + len(word), label=label) for place in starts]


class Runs:
    """Trainings of one config in folders of one place."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.path = folder / "config.cfg"
        self.path.write_text(CONFIG)
        self.overrides = {**write_corpora(folder), **changes}

    def config(self, **more: Any) -> Any:
        return load_config(self.path, overrides={**self.overrides, **more}, interpolate=False)

    def begin(self, name: str, *, resume: bool = False, peers: Peers = ALONE, **more: Any) -> Start:
        output = self.folder / name
        return start(self.config(**more), output, Checkpoints(output / FOLDER), resume=resume, peers=peers)

    def run(
        self,
        name: str,
        *,
        every: int = 0,
        resume: bool = False,
        out: Any = None,
        peers: Peers = ALONE,
        shard: bool = False,
        **more: Any,
    ) -> Outcome:
        """Train in the folder `name`. `stop_at` counts the updates of this run alone."""
        begun, into = self.begin(name, resume=resume, peers=peers, **more), self.folder / name
        sinks = {"stdout": out or io.StringIO(), "stderr": io.StringIO()}
        return train(begun, into, every=every, peers=peers, shard=shard, **sinks)

    def stopped(self, name: str, at: int, *, how: str = "SIGTERM", **more: Any) -> Outcome:
        """Train until a signal ends it."""
        stop = {"training.logger.stop_at": at, "training.logger.how": how}
        return self.run(name, **{**more, **stop})

    def spacy(self, name: str, **more: Any) -> None:
        """What `spacy train` does."""
        output = self.folder / name
        output.mkdir()
        nlp = init_nlp(self.config(**more))
        spacy_train(nlp, output, stdout=io.StringIO(), stderr=io.StringIO())

    def files(self, name: str, which: str = "model-last") -> dict[str, bytes]:
        """What is in the folder of a pipeline, but for what says which run it was (its config), what transformers
        writes in one of two ways, by where the tokenizer came from, and what peft lists in the order of a set."""
        aside = ("config.cfg", "special_tokens_map.json", "tokenizer_config.json", "adapter_config.json")
        folder = self.folder / name / which
        paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in aside]
        assert paths, folder
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        # spaCy lists scores by label in the order of a set, which is another in each process.
        found["meta.json"] = json.dumps(json.loads(found["meta.json"]), sort_keys=True).encode()
        return found

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The optimizer in the newest checkpoint."""
        checkpoint = Checkpoints(self.folder / name / FOLDER).latest()
        assert checkpoint is not None
        return load_file(checkpoint.pipeline.parent / "optimizer.safetensors")


def meta(folder: Path) -> dict[str, Any]:
    return srsly.read_json(folder / "meta.json")
