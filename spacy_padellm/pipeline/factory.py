"""The entry point spaCy loads whenever a pipeline is made on this machine, so nothing heavy is imported here: a broken
torch must not break pipelines that do not use this component.

spaCy validates settings against these annotations, so they are real types and not strings: no `annotations` future.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from spacy.language import Language
from thinc.api import Model

from spacy_padellm.training.label_draw import LabelDraw
from spacy_padellm.types import Scheme

if TYPE_CHECKING:
    from spacy_padellm.pipeline.component import PaDeLLMNER

DEFAULT_CONFIG: dict[str, Any] = {
    "model": {"@architectures": "spacy-padellm.FreshCausalLM.v1"},
    "scheme": {
        "@misc": "spacy-padellm.PaDeLLM.v1",
        "prompt": {"@misc": "spacy-padellm.EnglishPrompt.v1"},
    },
    "spans_key": "sc",
    "placing": "ordered",
    "one_label_per_string": False,
    "overwrite_ents": False,
    "constrain": True,
    "max_answer": 128,
    "max_row": 4096,
    "draft_questions": True,
    "draft_copies": None,
    "draft_counts": None,
    "kv_bytes": None,
    "cuda_graphs": True,
    "compile_layers": False,
    "labels_at_once": None,
    "window": None,
    "window_overlap": 0.125,
    "strict": False,
    "weighting": "tree",
    "label_draw": None,
    "copy_share": 0.0,
    "text_weight": 0.0,
    "count_weight": 1.0,
    "save_io": False,
    "threshold": 0.0,
    "labels_from_context": None,
    "scorer": {"@scorers": "spacy-padellm.ner_scorer.v1"},
}


@Language.factory(
    "padellm_ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_padellm_ner(
    nlp: Language,
    name: str,
    model: Model,
    scheme: Scheme,
    spans_key: str,
    placing: Literal["ordered", "first", "all", "strict"],
    one_label_per_string: bool,
    overwrite_ents: bool,
    constrain: bool,
    max_answer: int,
    max_row: int,
    draft_questions: bool,
    draft_copies: int | None,
    draft_counts: bool | None,
    kv_bytes: int | None,
    cuda_graphs: bool,
    compile_layers: bool,
    labels_at_once: int | None,
    window: int | None,
    window_overlap: float,
    strict: bool,
    weighting: Literal["tree", "sequence"],
    label_draw: LabelDraw | None,
    copy_share: float,
    text_weight: float,
    count_weight: float,
    save_io: bool,
    threshold: float,
    labels_from_context: str | None,
    scorer: Callable | None,
) -> "PaDeLLMNER":
    """Named entity recognition with a causal LM that decodes all mentions of a text in parallel.

    model (Model): "spacy-padellm.CausalLM.v1" or "spacy-padellm.FreshCausalLM.v1".
    scheme (Scheme): What is asked: "spacy-padellm.PaDeLLM.v1", "spacy-padellm.OneStep.v1",
        "spacy-padellm.AutoRegStruct.v1" or "spacy-padellm.AutoRegAug.v1", with a prompt.
    spans_key (str): All mentions, also nested and overlapping ones, go to `doc.spans[spans_key]`.
    placing (str): Which occurrence a repeated string takes: "ordered", "first", "all" or "strict".
    one_label_per_string (bool): Keep only the best-scored label of a string, as the paper does. Wrong where a string
        may truly carry two labels.
    overwrite_ents (bool): Replace entities that are already there; otherwise they stay, and ours fill the gaps.
    constrain (bool): Hold every mention to the strings of the text.
    max_answer (int): The most pieces of an answer for which the scheme sets no limit of its own.
    max_row (int): The most pieces fed in one step.
    draft_questions (bool): Feed with a count the mention questions it opens, before it is known to be complete. What
        is found is the same with and without drafts; one that is refuted costs its pieces.
    draft_copies (int | None): Feed with a known piece of a mention so many pieces of the text that may come next; half
        as many where several documents share a step. None for 16; for 4 of a mention on a CPU, which computes for
        every piece.
    draft_counts (bool | None): Feed with the question for a count the likeliest counts, and the questions they open.
        None to do so where it costs nothing: on a GPU, as long as few pieces are fed in a step.
    kv_bytes (int | None): The most bytes of keys and values, which bounds how many documents are decoded at once; a
        document that needs more is decoded alone. None for half of a GPU's free memory, or a quarter of the machine's,
        4 GiB there at the most.
    cuda_graphs (bool): On a GPU, capture the steps that come again, so that each is one launch. Takes memory for the
        keys and values of as many documents as were decoded together.
    compile_layers (bool): Compile the model's layers with `torch.compile`, at the first text: some 15 s, for about a
        quarter less time a step on a GPU. Needs a C++ compiler, and triton on a GPU.
    labels_at_once (int | None): Ask a text about so many labels at a time, all over the one reading of the text, and
        keep nothing of one group of labels for the next. What is found is the same; it takes memory for one group in
        place of all labels, and steps for each group. None for all labels at once. A scheme with one question about all
        labels has one group.
    window (int | None): The most pieces (tokens of the model, not of spaCy) of a text that are read at once, in
        prediction and in training. A longer text is cut into windows that overlap: at sentence ends where the document
        has sentences and they fit, else at tokens. None for as many as the model has positions for beside the longest
        question and answer, which is also the most that a larger number means.
    window_overlap (float): The most that a window shares with the one before it, as a share of a window, at most 0.5.
    strict (bool): Refuse a text that is too long rather than read it in windows: with P023 one that does not fit the
        model, with P181 one that is longer than `window`.
    weighting (str): "tree" counts each target of a training tree once, "sequence" as often as the paper does.
    label_draw (LabelDraw | None): Which labels are asked about a training text, drawn anew each time: a block
        "spacy-padellm.LabelDraw.v1"; None for all of them, in order.
    copy_share (float): Share of the training texts with one more question, which asks to repeat some of the text: a
        small decoder learns to copy from it.
    text_weight (float): What each piece of a training text counts as a target of its own: 0 for PaDeLLM's loss, more
        for a decoder that still has to learn the language of the texts.
    count_weight (float): What each piece of a count weighs in the loss beside one of a marker or a mention.
    save_io (bool): Keep questions and answers in `doc.user_data["llm_io"][name]`.
    threshold (float): How sure a mention must be, from 0 to 1, to become a span: the probability of its count times
        that of its pieces, turned into how often such mentions are right where the pipe was calibrated. A label may
        have a threshold of its own. What is left out stands in `attrs["below_threshold"]` of the span group.
    labels_from_context (str | None): The key under which contexts of `nlp.pipe(as_tuples=True)` hold the labels of
        their documents; None not to look there. A document's own `doc._.padellm_labels` goes before it.
    scorer (Callable | None): Scores the pipe.
    RETURNS (PaDeLLMNER): The pipe, without weights until it is initialised or loaded.
    """
    # torch is only imported once somebody uses the component.
    from spacy_padellm.pipeline.component import PaDeLLMNER
    from spacy_padellm.pipeline.options import Options

    options = Options(
        spans_key=spans_key,
        placing=placing,
        one_label_per_string=one_label_per_string,
        overwrite_ents=overwrite_ents,
        constrain=constrain,
        max_answer=max_answer,
        max_row=max_row,
        draft_questions=draft_questions,
        draft_copies=draft_copies,
        draft_counts=draft_counts,
        kv_bytes=kv_bytes,
        cuda_graphs=cuda_graphs,
        compile_layers=compile_layers,
        labels_at_once=labels_at_once,
        window=window,
        window_overlap=window_overlap,
        strict=strict,
        weighting=weighting,
        label_draw=label_draw,
        copy_share=copy_share,
        text_weight=text_weight,
        count_weight=count_weight,
        save_io=save_io,
        threshold=threshold,
        labels_from_context=labels_from_context,
    )
    return PaDeLLMNER(nlp.vocab, model, name, scheme=scheme, options=options, scorer=scorer)
