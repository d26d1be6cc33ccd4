"""The spaCy component: thin. It reads documents, has their questions answered, and writes what was found."""

import logging
import os
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate

from spacy_padellm.backends.local import Text, stream_texts
from spacy_padellm.backends.remote import stream_remote
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.decoder import Counters
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.stream import AHEAD, Pause
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.metrics.calibration import Calibration
from spacy_padellm.model.architectures import is_forest_model, shim_of
from spacy_padellm.pipeline.annotate import Annotation, Lost, read_annotation, write_annotation
from spacy_padellm.pipeline.asking import Asking
from spacy_padellm.pipeline.colours import displacy_options
from spacy_padellm.pipeline.confidence import Bar
from spacy_padellm.pipeline.examples import gold_mentions, gold_spans, is_blank, sentence_starts, text_of
from spacy_padellm.pipeline.label_spec import Kept
from spacy_padellm.pipeline.labels import Labels, check_label, check_labels, enumerated, words_of
from spacy_padellm.pipeline.options import Options
from spacy_padellm.pipeline.parts import Parts, Tally
from spacy_padellm.pipeline.telling import Telling, Witness
from spacy_padellm.pipeline.trace import Trace
from spacy_padellm.pipeline.windows import GoldParts, Windowing, gold_parts
from spacy_padellm.schemes.segments import prompt_segments
from spacy_padellm.training.copying import draw_copy_task
from spacy_padellm.training.label_draw import LabelPool
from spacy_padellm.training.targets import TargetTree, grow_gold
from spacy_padellm.types import Answered, Mention, Scheme, Words

IO_LOGGER = logging.getLogger("spacy_padellm.io")
"""Tells texts, questions and answers, and so nothing unless its own level is set (`spacy_padellm/__init__.py`)."""

_TOKENIZER_SAMPLE = 20_000
"""Documents whose texts a fresh tokenizer is trained on and whose labels are counted, at most."""

_TOKENIZER_LABELS = 200
"""Labels whose questions a fresh tokenizer is trained on, at most; those that most texts have."""

_REPORT_EVERY = 10_000
"""Documents after which a stream that has not ended says what was lost so far."""

_WINDOWS = 16
"""Windows of a document that is annotated alone which are read at once, at most."""


_SERVED_SHARE = 4
"""Of what a service has in hand a long document may take one part in so many, so that short ones need not wait."""


class PaDeLLMNER(TrainablePipe):
    """Named entity recognition by parallel questions to a causal LM.

    vocab (Vocab): The shared vocabulary.
    model (Model): A registered architecture of this package.
    name (str): The pipe's name in the pipeline.
    scheme (Scheme): What is asked.
    options (Options): Settings.
    scorer (Callable | None): Scores the pipe.
    RAISES (ValueError): P001 if the model or the scheme is something else.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "padellm_ner",
        *,
        scheme: Scheme,
        options: Options,
        scorer: Callable[..., dict[str, Any]] | None,
    ) -> None:
        # spaCy does not look at what a block of the config resolves to.
        if not isinstance(scheme, Scheme):
            raise ValueError(Errors.P001.format(name="scheme", expected="a scheme", got=scheme))
        if not is_forest_model(model):
            expected = "an architecture of this package"
            raise ValueError(Errors.P001.format(name="model", expected=expected, got=getattr(model, "name", model)))
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scheme = scheme
        self.options = options
        self.scorer = scorer
        self.counters = Counters()
        self.cfg: dict[str, Any] = {"labels": {}, "train_labels": None, "frequencies": {}, "calibration": None}
        self._lost = Lost()
        self._tally = Tally()
        self._told_of_split = False
        self._windowing: tuple[tuple[object, ...], Windowing] | None = None
        self._process = os.getpid()

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels asked about, in the order asked."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str] | dict[str, Kept]:
        """What `initialize(labels=...)` takes back: names, or names with what is said about them."""
        labels: dict[str, Kept] = self.cfg["labels"]
        return dict(labels) if any(labels.values()) else list(labels)

    def add_label(self, label: str, words: str | Mapping[str, Any] | None = None, **spec: Any) -> int:
        """Ask about one more label, also one that training never asked about.

        label (str): Its name.
        words (str | Mapping[str, Any] | None): Its words in the prompt, or all that is said about it; None for the
            prompt's own choice of words.
        **spec (Any): What is said about it beside its words, as `LabelSpec` has it: `description`, `examples`,
            `colour`, `threshold`.
        RETURNS (int): 1, or 0 if the label is there already.
        RAISES (ValueError): P015 if the name is no string, is blank or holds a lone surrogate; P016 the same of the
            words; P190 for what cannot be said about a label.
        """
        kept = check_label(label, {"words": words, **spec} if spec else words)
        if label in self.cfg["labels"]:
            return 0
        self.vocab.strings.add(label)
        self.cfg["labels"][label] = kept
        return 1

    def set_labels(self, labels: Labels) -> None:
        """Ask about these labels and no others from now on, also about those that training never asked about.

        labels (Sequence[str] | Mapping[str, str | Mapping[str, Any] | None]): Names, or names with their words in the
            prompt or with all that is said about them (`LabelSpec`).
        RAISES (ValueError): P011 for no label at all; P015, P016 or P190 for what is no label; P017 if the scheme
            cannot tell two of them apart. The labels then stay as they are.
        """
        checked = check_labels(labels)
        if not checked:
            raise ValueError(Errors.P011.format(name=self.name))
        self.scheme.ask(words_of(checked, self.scheme))
        for label in checked:
            self.vocab.strings.add(label)
        self.cfg["labels"] = checked

    def displacy_options(self) -> dict[str, Any]:
        """What `displacy.render(doc, style="ent", options=...)` takes, or style "span": labels with their colours."""
        return displacy_options(self.cfg["labels"], spans_key=self.options.spans_key)

    # Confidence

    @property
    def calibration(self) -> Calibration | None:
        """The map from a mention's probability to its confidence; None to take the model at its word."""
        kept = self.cfg["calibration"]
        return Calibration(**kept) if kept else None

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        self.cfg["calibration"] = asdict(calibration) if calibration else None

    # Prediction

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one document. The document is modified in place."""
        for _ in self.pipe([doc], batch_size=_WINDOWS):
            pass
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 64) -> Iterator[Doc]:
        """Annotate a stream of documents, up to `batch_size` of them at once. The documents are modified in place.

        A document that is done makes room for the next ones; only its turn to be given back may still have to come.
        One that fails goes to the error handler alone, the others begin anew without it. What was answered and became
        no span is counted and reported in one warning (W001) when the stream ends, or every 10,000 documents; so are
        the documents that were read in windows (W010). The model must stay as it is until then. If `stream` itself
        raises, those read ahead are lost with it.

        stream (Iterable[Doc]): The documents. None is read before it is asked for, and no more than `batch_size` ahead;
            up to four times as many while one long document holds the others up.
        batch_size (int): The most documents at once; of a document that is too long, windows.
        YIELDS (Doc): The documents in order, without those that failed.
        """
        docs: dict[int, Doc] = {}
        ended: dict[int, Annotation | Exception] = {}
        turn = 0
        try:
            for number, outcome in self._find(_kept(stream, docs), batch_size):
                ended[number] = outcome
                while turn in ended:
                    doc = docs.pop(turn)
                    if self._end(doc, ended.pop(turn)):
                        yield doc
                    turn += 1
                    if turn % _REPORT_EVERY == 0:
                        self._report_losses()
        finally:
            self._report_losses()

    def serve(
        self,
        source: Iterable[Doc | Pause],
        *,
        batch_size: int = 64,
        is_wanted: Callable[[Doc], bool] | None = None,
    ) -> Iterator[tuple[Doc, Exception | None]]:
        """Annotate documents as they come, each given back as soon as it is done: what a service needs, whose requests
        join those that are under way. The windows of long documents take turns with other documents. Otherwise as
        `pipe`; the error handler is not called.

        source (Iterable[Doc | Pause]): The documents, read while there is room; a `Pause` where none has come yet and
            some are on their way. While none is, it had better wait.
        batch_size (int): The most documents at once; four times as many that are too long take turns beside them.
        is_wanted (Callable[[Doc], bool] | None): Whether somebody still waits for a document, asked in front of each
            window: if nobody does, it ends with `Unwanted`.
        YIELDS (tuple[Doc, Exception | None]): A document, in whatever order they are done, with what it raised, if
            anything.
        """
        docs: dict[int, Doc] = {}
        n_done = 0
        try:
            share = max(1, batch_size // _SERVED_SHARE)
            for number, outcome in self._find(_kept(source, docs), batch_size, is_wanted=is_wanted, share=share):
                doc, failure = docs.pop(number), outcome if isinstance(outcome, Exception) else None
                try:
                    if isinstance(outcome, Annotation):
                        self.set_annotations([doc], [outcome])
                except Exception as error:
                    failure = error
                yield doc, failure
                n_done += 1
                if n_done % _REPORT_EVERY == 0:
                    self._report_losses()
        finally:
            self._report_losses()

    def _report_losses(self) -> None:
        for report in (self._lost.report(), self._tally.report(self.options.spans_key)):
            if report:
                warnings.warn(report, stacklevel=3)

    def _end(self, doc: Doc, outcome: Annotation | Exception) -> bool:
        """Write what was found to a document. RETURNS (bool): False if it failed and the error handler has it."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self.set_annotations([doc], [outcome])
        except Exception as error:
            self.get_error_handler()(self.name, self, [doc], error)
            return False
        return True

    def _find(
        self,
        docs: Iterable[Doc | Pause],
        in_flight: int,
        witness: Witness | None = None,
        *,
        is_wanted: Callable[[Doc], bool] | None = None,
        share: int | None = None,
    ) -> Iterator[tuple[int, Annotation | Exception]]:
        """The annotation of each document with its number in the stream, as soon as it is done. A witness sees all of
        it, and then nothing is added to what the pipe counts."""
        try:
            lm = self._ready()
            asking = Asking(self.name, self.scheme, self.cfg, self.options.labels_from_context)
        except Exception as error:
            # Each time it is raised its traceback grows, and the frames in there hold documents.
            met = error.__traceback__
            for number, _ in enumerate(doc for doc in docs if isinstance(doc, Doc)):
                yield number, error.with_traceback(met)
            return
        read = self._read if witness is None else witness.reading(partial(self._read, lost=witness.lost))
        tally = self._tally if witness is None else witness.tally
        parts = Parts(asking, partial(self._windowing_for, lm), read, bar=self._bar(), tally=tally, is_wanted=is_wanted)
        texts = parts.texts(docs, share=share, room=AHEAD * max(1, in_flight))
        texts = texts if witness is None else witness.texts(texts)
        settings: dict[str, Any] = {
            "decoding": self.options.decoding(record=witness is not None),
            "counters": self.counters if witness is None else witness.counters,
            "in_flight": max(1, in_flight),
        }
        if isinstance(lm, ServedModel):
            answers = stream_remote(lm, self.scheme, asking.own.words, texts, **settings)
        else:
            answers = stream_texts(lm, self.scheme, asking.own.words, texts, **settings)
        for number, outcome in answers:
            yield from parts.take(number, outcome)

    def _bar(self) -> Bar:
        return Bar(self.calibration, self.options.threshold)

    def _read(self, text: Text, answered: Sequence[Answered], *, lost: Lost | None = None) -> Annotation:
        return read_annotation(
            self.scheme,
            text,
            answered,
            placing=self.options.placing,
            one_label=self.options.one_label_per_string,
            lost=self._lost if lost is None else lost,
        )

    def _windowing_for(self, lm: LanguageModel | ServedModel, words: Mapping[str, Words]) -> Windowing:
        """How long texts are cut that are asked about some labels. The last one is kept: thousands of labels are
        thousands of questions to be measured."""
        # Not the model itself, which would be kept in memory when another one is loaded.
        of = (lm.pieces, lm.max_positions, self.scheme, self.options, words)
        if self._windowing is None or self._windowing[0] != of:
            self._windowing = (of, Windowing.of(lm, self.scheme, words, self.options))
        return self._windowing[1]

    def _ready(self) -> LanguageModel | ServedModel:
        """The model. RAISES (ValueError): P010 or P013 if it cannot be asked; on a server, what `terms` raises."""
        lm = shim_of(self.model).backend
        if isinstance(lm, ServedModel):
            _ = lm.terms
            return lm
        if lm.device.type == "cuda" and os.getpid() != self._process:
            raise ValueError(Errors.P013.format())
        return lm

    def predict(self, docs: Iterable[Doc]) -> list[Annotation]:
        """Find the mentions of some documents, which are not changed.

        RETURNS (list[Annotation]): For each document its spans and entities.
        RAISES (ValueError): P010 before the model was initialised or loaded; P011 without labels; P013 in a process
            forked from one that used a GPU; P015, P016, P190 or P191 for labels of a document that are none; P023, P180
            or P181 if a text does not fit the model or `window`.
        """
        docs = list(docs)
        self._ready()
        annotations = [Annotation() for _ in docs]
        for number, outcome in self._find(docs, max(_WINDOWS, len(docs))):
            if isinstance(outcome, Exception):
                raise outcome
            annotations[number] = outcome
        return annotations

    def trace(self, doc: Doc) -> Trace:
        """See how a document is annotated: every question with its answer, when it grew and what became of it.

        The document is read as `predict` reads it and is not changed; what the pipe counts is not either.

        doc (Doc): The document; one that the pipe has annotated before will do.
        RETURNS (Trace): Its tree, or one for each window.
        RAISES (ValueError): As `predict` does.
        """
        self._ready()
        witness, begun = Witness(), time.perf_counter()
        annotation = Annotation()
        for _, outcome in self._find([doc], _WINDOWS, witness):
            if isinstance(outcome, Exception):
                raise outcome
            annotation = outcome
        seconds = time.perf_counter() - begun
        told = Telling(self.scheme, self._bar(), shim_of(self.model).backend.pieces, self.options)
        return told.trace(doc, annotation, witness, seconds=seconds)

    def set_annotations(self, docs: Iterable[Doc], scores: Sequence[Annotation]) -> None:
        """Write what `predict` found to `doc.spans[spans_key]` and `doc.ents`."""
        tells = IO_LOGGER.isEnabledFor(logging.DEBUG)
        for doc, annotation in zip(docs, scores, strict=True):
            write_annotation(
                doc, annotation, spans_key=self.options.spans_key, overwrite_ents=self.options.overwrite_ents
            )
            if tells:
                IO_LOGGER.debug("%s: %r %s", self.name, doc.text, srsly.json_dumps(annotation.said()))
            if self.options.save_io:
                doc.user_data.setdefault("llm_io", {})[self.name] = annotation.said()

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Labels | None = None,
        train_labels: Labels | None = None,
    ) -> None:
        """Take over the labels and make or load the model.

        get_examples (Callable[[], Iterable[Example]]): Gives a sample of the training examples.
        nlp (Language | None): The pipeline.
        labels (Sequence[str] | Mapping[str, str | Mapping[str, Any] | None] | None): Names, or names with their words
            in the prompt or with all that is said about them (`LabelSpec`); by default `train_labels`, or else the
            labels of the examples.
        train_labels (Sequence[str] | Mapping[str, str | Mapping[str, Any] | None] | None): What training asks about,
            where that is not what prediction asks about: thousands of open types, for instance, from which
            `label_draw` takes some for each text. By default `labels`.
        RAISES (ValueError): P011 if there is no label at all; P015, P016 or P190 for what is no label. Nothing has
            changed then.
        """
        validate_get_examples(get_examples, "PaDeLLMNER.initialize")
        examples = list(islice(get_examples(), _TOKENIZER_SAMPLE))
        key = self.options.spans_key
        found = [{span.label_ for span in gold_spans(example, key) or ()} for example in examples]
        frequencies = Counter(label for labels_of_text in found for label in sorted(labels_of_text))
        drawn = None if train_labels is None else check_labels(train_labels)
        asked = (drawn or dict.fromkeys(sorted(frequencies))) if labels is None else check_labels(labels)
        if not (asked or self.labels) or drawn == {}:
            raise ValueError(Errors.P011.format(name=self.name))
        for label, words in asked.items():
            self.add_label(label, words)
        self.cfg["train_labels"] = drawn
        self.cfg["frequencies"] = dict(frequencies)
        # It was fitted to other weights.
        self.calibration = None
        self._warn_of_unused_labels()
        self._warn_of_left_out(examples)
        texts = [example.reference.text for example in examples]
        self.model.initialize(X=(texts, prompt_segments(self.scheme, self._frequent_words())))

    def _frequent_words(self) -> dict[str, Words]:
        """The labels that training asks about, without the rarest where there are very many."""
        words, frequencies = self._train_words(), self.cfg["frequencies"]
        often = set(sorted(words, key=lambda label: -frequencies.get(label, 0))[:_TOKENIZER_LABELS])
        return {label: words[label] for label in words if label in often}

    def _warn_of_unused_labels(self) -> None:
        used, asked = self.cfg["frequencies"], self._train_words()
        # Labels to draw from may well be absent everywhere; labels that are always asked about should not be.
        unused = [label for label in asked if label not in used] if self.cfg["train_labels"] is None else []
        unknown = sorted(label for label in used if label not in asked)
        if unused:
            warnings.warn(Warnings.W002.format(labels=enumerated(unused)), stacklevel=3)
        if unknown:
            warnings.warn(Warnings.W003.format(labels=enumerated(unknown)), stacklevel=3)

    def _warn_of_left_out(self, examples: Sequence[Example]) -> None:
        golds = [gold_mentions(example, self.options.spans_key) for example in examples]
        left_out = [mention for gold in golds for mention in self.scheme.left_out(gold)]
        if left_out:
            example = f"{left_out[0].label}: {left_out[0].string!r}"
            mentions = sum(map(len, golds))
            warnings.warn(Warnings.W004.format(count=len(left_out), mentions=mentions, example=example), stacklevel=3)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from gold mentions: the group `spans_key` where an example has it, else its entities.

        examples (Iterable[Example]): The examples. Those without annotation and those without words are left out.
        drop (float): Dropout rate.
        sgd (Optimizer | None): Updates the weights; None to leave the gradients to `finish_update`.
        losses (dict[str, float] | None): The mean loss in nats per target is added under the pipe's name.
        RETURNS (dict[str, float]): The losses.
        RAISES (ValueError): P010 before the model was initialised or loaded; P023, P180 or P181 if a text does not fit
            the model or `window`.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "PaDeLLMNER.update")
        trees = self._trees(examples)
        if not trees:
            return losses
        set_dropout_rate(self.model, drop)
        loss, backprop = self.model.begin_update(trees)
        backprop(1.0)
        if sgd not in (None, False):
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def get_loss(self, examples: Iterable[Example], scores: object = None) -> tuple[float, float]:
        """The mean loss over the targets of some examples, and its gradient with respect to itself (1).

        `scores` is not used: the loss is computed on gold answers, not on predictions.
        """
        trees = self._trees(list(examples))
        return (shim_of(self.model).loss(trees, max_row=self.model.attrs["max_row"]) if trees else 0.0), 1.0

    def _trees(self, examples: Sequence[Example]) -> list[TargetTree]:
        key, words, draw = self.options.spans_key, self._train_words(), self.options.label_draw
        pool = draw.pool(words, self.cfg["frequencies"]) if draw else LabelPool(words, {})
        annotated = [one for one in examples if not is_blank(one.predicted) and gold_spans(one, key) is not None]
        cut = self._cut(annotated, words)
        trees = [self._tree(text, gold, pool) for parts in cut for text, gold in parts.parts]
        # A label draw may leave nothing to ask about a text.
        return [tree for tree in trees if tree.weight]

    def _cut(self, examples: Sequence[Example], words: Mapping[str, Words]) -> list[GoldParts]:
        """The texts of some examples with their gold mentions, those that are too long in windows."""
        windowing = self._windowing_for(shim_of(self.model).lm, words)
        key = self.options.spans_key
        cut = [
            gold_parts(
                windowing,
                text_of(example.predicted),
                sentence_starts(example.predicted) or sentence_starts(example.reference),
                gold_mentions(example, key),
            )
            for example in examples
        ]
        lost = [mention for parts in cut for mention in parts.lost]
        if lost and not self._told_of_split:
            self._told_of_split = True
            mentions = sum(len(gold_mentions(example, key)) for example in examples)
            example = f"{lost[0].label}: {lost[0].string!r}"
            warnings.warn(Warnings.W011.format(count=len(lost), mentions=mentions, example=example), stacklevel=5)
        return cut

    def _train_words(self) -> dict[str, Words]:
        """The labels that training may ask about, with their words."""
        drawn = self.cfg["train_labels"]
        return words_of(self.cfg["labels"] if drawn is None else drawn, self.scheme)

    def _tree(self, text: Text, gold: Sequence[Mention], pool: LabelPool) -> TargetTree:
        lm, draw = shim_of(self.model).lm, self.options.label_draw
        words = draw.draw((mention.label for mention in gold), pool) if draw else pool.words
        return grow_gold(
            self.scheme,
            words,
            text.string,
            [mention for mention in gold if mention.label in words],
            lm.pieces,
            weighting=self.options.weighting,
            text_weight=self.options.text_weight,
            count_weight=self.options.count_weight,
            max_positions=lm.max_positions,
            copy_task=draw_copy_task(text.string, text.borders) if random.random() < self.options.copy_share else None,
        )

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score predicted documents against gold ones, the spans under this pipe's own `spans_key`."""
        return super().score(examples, **{"spans_key": self.options.spans_key, **kwargs})

    # Saving and loading

    def _take_over(self, cfg: dict[str, Any]) -> None:
        # A pipe that was saved before there were calibrations has none.
        self.cfg.update({"calibration": None, **cfg})

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Everything in one message; for models over 4 GiB use `to_disk`.

        RAISES (ValueError): P010 before the model was initialised or loaded; P014 if the model is too large.
        """
        parts = {
            "cfg": lambda: srsly.json_dumps(self.cfg),
            "vocab": lambda: self.vocab.to_bytes(exclude=exclude),
            "model": shim_of(self.model).to_bytes,
        }
        return util.to_bytes(parts, exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "PaDeLLMNER":
        parts: dict[str, Callable[[bytes], Any]] = {
            "cfg": lambda data: self._take_over(srsly.json_loads(data)),
            "vocab": lambda data: self.vocab.from_bytes(data, exclude=exclude),
            "model": shim_of(self.model).from_bytes,
        }
        util.from_bytes(bytes_data, parts, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the pipe to a folder: labels, and the model in a folder of its own.

        RAISES (ValueError): P010 before the model was initialised or loaded.
        """
        parts = {
            "cfg": lambda place: srsly.write_json(place, self.cfg),
            "vocab": lambda place: self.vocab.to_disk(place, exclude=exclude),
            "model": shim_of(self.model).to_disk,
        }
        util.to_disk(path, parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "PaDeLLMNER":
        """Read the pipe from a folder. A self-contained one needs no network.

        RAISES (ValueError): P027 if a part of the model is missing or broken.
        """
        parts: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda place: self._take_over(srsly.read_json(place)),
            "vocab": lambda place: self.vocab.from_disk(place, exclude=exclude),
            "model": shim_of(self.model).from_disk,
        }
        util.from_disk(path, parts, exclude)
        return self


def _kept(stream: Iterable[Doc | Pause], docs: dict[int, Doc]) -> Iterator[Doc | Pause]:
    """The documents of a stream, each put under its number when it is read."""
    number = 0
    for doc in stream:
        if isinstance(doc, Doc):
            docs[number] = doc
            number += 1
        yield doc
