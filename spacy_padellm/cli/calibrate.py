"""`python -m spacy padellm calibrate`: make a pipe's confidences tell how often its mentions are right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.cli.evaluate import read_gold
from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.cli.tables import print_reliability
from spacy_padellm.errors import Errors
from spacy_padellm.metrics.calibration import fit_calibration
from spacy_padellm.metrics.reliability import reliability
from spacy_padellm.pipeline.outcomes import answered_in, mentions_of


@app.command("calibrate")
def calibrate_cli(
    model: str = typer.Argument(..., help="Folder or package name of a pipeline with a padellm_ner pipe"),
    data_path: Path = typer.Argument(..., help="Gold documents that it was not trained on: a .spacy file or a folder"),
    output: Path = typer.Argument(..., help="Folder to write the calibrated pipeline to"),
    pipe: str = typer.Option("padellm_ner", "--pipe", "-p", help="Name of the pipe"),
    batch_size: int | None = typer.Option(None, "--batch-size", "-b", help="Documents a batch; else the pipeline's"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
) -> None:
    """Calibrate a pipe: find the two numbers that turn the probability of a mention and its count into how often such
    mentions are right, and save the pipeline with them. Thresholds then mean what they say.
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        setup_gpu(gpu_id, silent=True)
        if not Path(model).exists() and not util.is_package(model):
            raise ValueError(Errors.P154.format(name=model))
        nlp = spacy.load(model)
        found = calibrate(nlp, data_path, pipe=pipe, batch_size=batch_size)
        output.mkdir(parents=True, exist_ok=True)
        nlp.to_disk(output)
    for name in ("before", "after"):
        msg.divider(name)
        print_reliability(name, found[name])
    msg.good(f"Saved to {output}: slope {found['slope']:.3f}, offset {found['offset']:.3f}")


def calibrate(
    nlp: Language, data_path: Path, *, pipe: str = "padellm_ner", batch_size: int | None = None
) -> dict[str, Any]:
    """Fit the calibration of a pipe in place; one that it had before is forgotten.

    nlp (Language): The pipeline.
    data_path (Path): Gold documents, a .spacy file or a folder of them. Those without annotation are left out (W060).
    pipe (str): Name of the padellm_ner pipe.
    RETURNS (dict[str, Any]): `slope` and `offset`, as `Calibration` has them, and the reliability of the confidences
        `before` and `after`, both on these documents, without a calibration and with it.
    RAISES (ValueError): P109 or P150 to P152 for documents that are none; P192 if the mentions do not allow it; P193
        if there is no such pipe.
    """
    if pipe not in nlp.pipe_names or nlp.get_pipe_meta(pipe).factory != "padellm_ner":
        raise ValueError(Errors.P193.format(name=pipe, pipes=", ".join(nlp.pipe_names) or "no pipes"))
    ours: Any = nlp.get_pipe(pipe)
    key = ours.options.spans_key
    gold = read_gold(data_path, spans_key=key)
    probabilities, right = _judge(gold, nlp, key, batch_size)
    ours.calibration = fit_calibration(probabilities, right)
    calibrated = [ours.calibration(one) for one in probabilities]
    found = {"before": reliability(probabilities, right), "after": reliability(calibrated, right)}
    return {"slope": ours.calibration.slope, "offset": ours.calibration.offset, **found}


def _judge(gold: Sequence[Doc], nlp: Language, key: str, batch_size: int | None) -> tuple[list[float], list[bool]]:
    """The joint probability of every mention that has a place, whatever the thresholds, and whether gold has it."""
    probabilities: list[float] = []
    right: list[bool] = []
    predicted = nlp.pipe((doc.text for doc in gold), batch_size=batch_size)
    for reference, doc in zip(gold, predicted, strict=True):
        keys = {mention.key for mention in mentions_of(reference, key)}
        for found, probability in answered_in(doc, key):
            probabilities.append(probability)
            right.append(found.key in keys)
    return probabilities, right
