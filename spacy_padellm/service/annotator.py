"""A pipeline that annotates texts as they come. Who asks waits for a future; who answers is a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.engine.stream import Pause
from spacy_padellm.pipeline.asking import ATTRIBUTE
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.labels import Labels

ZONE = 10_000
"""Documents after which the words that they brought into the vocabulary are forgotten. The pipeline runs empty then."""

Read = Callable[[Doc], Any]
"""Takes from a document what is wanted of it. The document is gone afterwards."""


class Busy(Exception):
    """There are as many texts in line as there may be."""


class Closed(Exception):
    """No text is taken any more."""


@dataclass(eq=False)
class _Job:
    text: str
    labels: Labels | None
    read: Read
    future: Future[Any] = field(default_factory=Future)
    doc: Doc | None = None


class _Stage:
    """The pipes up to a padellm_ner pipe, that pipe, and, if it is the last, those behind it. It has a thread.

    before (list[Callable[[Doc], Doc]]): What is run on a document before `pipe`.
    pipe (PaDeLLMNER | None): Annotates documents beside each other; None if the pipeline has no such pipe.
    after (list[Callable[[Doc], Doc]]): What is run behind it.
    """

    def __init__(
        self,
        before: list[Callable[[Doc], Doc]],
        pipe: PaDeLLMNER | None,
        after: list[Callable[[Doc], Doc]],
    ) -> None:
        self.before = before
        self.pipe = pipe
        self.after = after
        self.inbox: deque[_Job] = deque()
        self.on_the_way: dict[int, _Job] = {}


class Annotator:
    """Annotates texts as they come. Each padellm_ner pipe has a thread, in which the texts of all who ask are one
    forest; the other pipes take one document at a time.

    nlp (Language): The pipeline. Nobody else may use it meanwhile.
    batch_size (int): The most documents that a padellm_ner pipe has in hand.
    most_waiting (int): The most texts that wait to be taken in hand, beyond which `submit` refuses.
    zone (int): Documents after which words that only texts had are forgotten.
    """

    def __init__(self, nlp: Language, *, batch_size: int = 64, most_waiting: int = 256, zone: int = ZONE) -> None:
        self.nlp = nlp
        self.batch_size = batch_size
        self.most_waiting = most_waiting
        self._zone = zone
        self._stages = _stages_of(nlp)
        self._changed = threading.Condition()
        self._under_way = 0
        self._in_zone = 0
        self._closed = False
        self._scope = ExitStack()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"padellm-{number}", daemon=True)
            for number in range(len(self._stages))
        ]
        self._scope.enter_context(nlp.memory_zone())
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Texts that nobody has taken in hand yet."""
        return len(self._stages[0].inbox)

    @property
    def under_way(self) -> int:
        """Texts that were accepted and are not answered yet, those that wait among them."""
        return self._under_way

    @property
    def pipes(self) -> list[PaDeLLMNER]:
        """The padellm_ner pipes."""
        return [stage.pipe for stage in self._stages if stage.pipe is not None]

    def submit(self, text: str, read: Read, *, labels: Labels | None = None) -> Future[Any]:
        """Have a text annotated.

        text (str): The text.
        read (Callable[[Doc], Any]): Takes from the document what is wanted; it is called in the annotator's thread.
        labels (Labels | None): What the padellm_ner pipes ask about; None for their own labels.
        RETURNS (Future[Any]): What `read` returned, or what was raised. It may be cancelled at any time: a text that
            waits leaves the line, a long one no further than the windows that are being read.
        RAISES (Busy): If too many texts wait. (Closed): After `close`.
        """
        job = _Job(text, labels, read)
        with self._changed:
            if self._closed:
                raise Closed
            if self.waiting >= self.most_waiting:
                raise Busy(self.waiting)
            self._under_way += 1
            self._stages[0].inbox.append(job)
            self._changed.notify_all()
        job.future.add_done_callback(lambda _: self._leave_line(job))
        return job.future

    def close(self, timeout: float | None = None) -> bool:
        """Take no more texts and finish those that were accepted.

        timeout (float | None): The most seconds to wait for them.
        RETURNS (bool): Whether all are finished.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            finished = self._changed.wait_for(lambda: self._under_way == 0, timeout)
        if finished:
            for thread in self._threads:
                thread.join()
            self._scope.close()
        return finished

    def _leave_line(self, job: _Job) -> None:
        """Take a text out of the line if nobody waits for it any more."""
        if not job.future.cancelled():
            return
        with self._changed:
            if job in self._stages[0].inbox:
                self._stages[0].inbox.remove(job)
                self._under_way -= 1
                self._changed.notify_all()

    # In a stage's thread

    def _run(self, number: int) -> None:
        stage = self._stages[number]
        while True:
            try:
                for doc, failure in self._annotated(stage):
                    job = stage.on_the_way.pop(id(doc))
                    self._hand_on(number, job, failure)
                return
            except Exception as error:  # nothing but a mistake of the engine comes here: what it had in hand is told
                failed = [*stage.on_the_way.values()] or self._next_in_line(stage)
                stage.on_the_way.clear()
                for job in failed:
                    self._end(job, failure=error)
                if not failed:
                    return

    def _next_in_line(self, stage: _Stage) -> list[_Job]:
        """The job that an engine which cannot even begin is told of; none once the annotator is closed."""
        with self._changed:
            self._changed.wait_for(lambda: stage.inbox or self._is_over())
            return [stage.inbox.popleft()] if stage.inbox else []

    def _annotated(self, stage: _Stage) -> Iterator[tuple[Doc, Exception | None]]:
        if stage.pipe is not None:

            def is_wanted(doc: Doc) -> bool:
                return not stage.on_the_way[id(doc)].future.cancelled()

            yield from stage.pipe.serve(self._documents(stage), batch_size=self.batch_size, is_wanted=is_wanted)
            return
        for doc in self._documents(stage):
            assert isinstance(doc, Doc), "nothing is on the way when the next document is asked for"
            yield doc, None

    def _documents(self, stage: _Stage) -> Iterator[Doc | Pause]:
        """The documents of a stage as they come, until the annotator is closed and nothing is left."""
        while True:
            with self._changed:
                if not stage.on_the_way:
                    self._changed.wait_for(lambda: self._may_take(stage) or self._is_over())
                    if self._is_over():
                        return
                job = stage.inbox.popleft() if self._may_take(stage) else None
            if job is None:
                yield Pause.NOTHING_YET
                continue
            doc = self._begun(stage, job)
            if doc is not None:
                stage.on_the_way[id(doc)] = job
                yield doc

    def _is_over(self) -> bool:
        return self._closed and self._under_way == 0

    def _may_take(self, stage: _Stage) -> bool:
        """Whether a stage has a document to take. The first one takes none while a zone is to be left."""
        if not stage.inbox:
            return False
        if stage is not self._stages[0] or self._in_zone < self._zone:
            return True
        if self._under_way > len(stage.inbox):
            return False
        self._scope.close()
        self._scope.enter_context(self.nlp.memory_zone())
        self._in_zone = 0
        return True

    def _begun(self, stage: _Stage, job: _Job) -> Doc | None:
        """The document of a job, after the pipes in front of a stage's own; None if that was its end."""
        try:
            if job.doc is None:
                if job.future.cancelled():
                    self._end(job)
                    return None
                self._in_zone += 1
                job.doc = self.nlp.make_doc(job.text)
                job.doc._.set(ATTRIBUTE, job.labels)
            for pipe in stage.before:
                job.doc = pipe(job.doc)
        except Exception as error:
            self._end(job, failure=error)
            return None
        return job.doc

    def _hand_on(self, number: int, job: _Job, failure: Exception | None) -> None:
        """Give a document to the next stage, or what is wanted of it to who asked."""
        if failure is not None:
            self._end(job, failure=failure)
            return
        if number + 1 < len(self._stages):
            with self._changed:
                self._stages[number + 1].inbox.append(job)
                self._changed.notify_all()
            return
        doc = job.doc
        assert doc is not None, "a document that is done was begun"
        try:
            for pipe in self._stages[number].after:
                doc = pipe(doc)
            found = job.read(doc)
        except Exception as error:
            self._end(job, failure=error)
        else:
            self._end(job, found)

    def _end(self, job: _Job, found: Any = None, *, failure: Exception | None = None) -> None:
        job.doc = None
        with suppress(InvalidStateError):  # who asked has gone
            if failure is not None:
                job.future.set_exception(failure.with_traceback(None))
            elif not job.future.cancelled():
                job.future.set_result(found)
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()


def _stages_of(nlp: Language) -> list[_Stage]:
    stages: list[_Stage] = []
    plain: list[Callable[[Doc], Doc]] = []
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, PaDeLLMNER):
            stages.append(_Stage(plain, pipe, []))
            plain = []
        else:
            plain.append(pipe)
    if not stages:
        return [_Stage(plain, None, [])]
    stages[-1].after = plain
    return stages
