"""The settings of the pipe that are neither its model nor its scheme."""

from dataclasses import dataclass

from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.errors import Errors
from spacy_padellm.settings import check_number, check_whole
from spacy_padellm.spans.resolve import Policy
from spacy_padellm.training.label_draw import LabelDraw
from spacy_padellm.training.targets import Weighting


@dataclass(frozen=True)
class Options:
    """Settings of the pipe; `make_padellm_ner` says what each does.

    RAISES (ValueError): P001 for a number out of its range, or for what is no label draw.
    """

    spans_key: str
    placing: Policy
    one_label_per_string: bool
    overwrite_ents: bool
    constrain: bool
    max_answer: int
    max_row: int
    draft_questions: bool
    draft_copies: int | None
    draft_counts: bool | None
    kv_bytes: int | None
    cuda_graphs: bool
    compile_layers: bool
    labels_at_once: int | None
    window: int | None
    window_overlap: float
    strict: bool
    weighting: Weighting
    label_draw: LabelDraw | None
    copy_share: float
    text_weight: float
    count_weight: float
    save_io: bool
    threshold: float
    labels_from_context: str | None

    def __post_init__(self) -> None:
        check_whole("max_answer", self.max_answer)
        check_whole("max_row", self.max_row)
        if self.draft_copies is not None:
            check_whole("draft_copies", self.draft_copies, least=0)
        if self.kv_bytes is not None:
            check_whole("kv_bytes", self.kv_bytes)
        if self.labels_at_once is not None:
            check_whole("labels_at_once", self.labels_at_once)
        if self.window is not None:
            check_whole("window", self.window)
        check_number("window_overlap", self.window_overlap, most=0.5)
        if self.label_draw is not None and not isinstance(self.label_draw, LabelDraw):
            expected = 'a block "spacy-padellm.LabelDraw.v1"'
            raise ValueError(Errors.P001.format(name="label_draw", expected=expected, got=self.label_draw))
        check_number("copy_share", self.copy_share, most=1.0)
        check_number("text_weight", self.text_weight)
        check_number("count_weight", self.count_weight)
        check_number("threshold", self.threshold, most=1.0)

    def decoding(self, *, record: bool = False) -> Decoding:
        """How answers are decoded.

        record (bool): Have answers say in which steps they grew, as they do with `save_io`.
        """
        drafting = Drafting(self.draft_questions, self.draft_copies, self.draft_counts)
        return Decoding(
            constrain=self.constrain,
            max_answer=self.max_answer,
            max_row=self.max_row,
            drafting=drafting,
            kv_bytes=self.kv_bytes,
            cuda_graphs=self.cuda_graphs,
            compile_layers=self.compile_layers,
            labels_at_once=self.labels_at_once,
            record=record or self.save_io,
        )
