"""A model in parts makes the updates of a whole one, and is written as a whole one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language
from thinc.api import Adam, Optimizer

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.training.peers import ALONE, Peers
from tests.pipeline.makers import DATA, FRESH, examples, ours
from tests.training.test_devices import LONG, joined, made
from tests.training.world import together

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights_after(nlp: Language, peers: Peers, sgd: Optimizer, *, shard: bool = False) -> dict[str, np.ndarray]:
    team = joined(nlp, peers, shard=shard)
    for number in range(6):
        for size in (1, 2):
            ours(nlp).update(examples(nlp, [[*DATA, LONG][(number + place) % 5] for place in range(size)]))
        ours(nlp).finish_update(sgd)
    with team.whole():
        model = shim_of(ours(nlp).model).lm.model
        return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def stepping(**settings: Any) -> Any:
    return lambda: Adam(0.1, beta1=0.0, beta2=0.0, **{"grad_clip": 0.05, **settings})


@pytest.mark.parametrize(
    ("double", "step", "within"),
    [
        pytest.param(True, stepping(L2=0.01), 1e-9, id="clipped, decay"),
        pytest.param(True, stepping(L2=0.01, L2_is_weight_decay=False), 1e-9, id="clipped, L2"),
        pytest.param(False, lambda: Adam(0.001), 1e-4, id="Adam"),
    ],
)
def test_weights_are_those_of_one_process(double: bool, step: Any, within: float):
    """Sub-batches of one text, whose second process has nothing to do, and rows of unequal number."""
    model = {**FRESH, "max_row": 150}
    begun = shim_of(ours(made(model, double=double)).model).lm.model
    first = {name: weight.detach().numpy() for name, weight in begun.named_parameters()}
    want = weights_after(made(model, double=double), ALONE, step())
    one, two = together(lambda peers: weights_after(made(model, double=double), peers, step(), shard=True))
    for name, weight in want.items():
        assert np.array_equal(one[name], two[name]), name
        assert np.allclose(one[name], weight, rtol=0, atol=within), name
    assert max(np.abs(weight - want[name]).max() for name, weight in first.items()) > 20 * within
