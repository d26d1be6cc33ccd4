"""A hub on this machine, and a pipeline to push to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from tests.pipeline.makers import DATA, Gold, blank, train
from tests.sharing.stand_in import TOKEN, Hub, running

KNOWN: list[Gold] = [*DATA, ("Ada met Hugo in Paris.", [(16, 21, "city")])]
"""What the pipeline knows: with the text of the cards' code."""

TOKEN_NAME = "MY_HUB_TOKEN"


@pytest.fixture(scope="session")
def served() -> Iterator[Hub]:
    with running() as hub:
        yield hub


@pytest.fixture
def hub(served: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub as the library in this process sees it, with nothing on it."""
    monkeypatch.setattr(constants, "ENDPOINT", served.url)
    for module in (constants, file_download):  # not in the second from release 1 on
        url = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", url, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv(TOKEN_NAME, TOKEN)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield served
    assert served.strange == []
    for held in (served.repos, served.objects, served.failing, served.asked):
        held.clear()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that knows `KNOWN`."""
    folder = tmp_path_factory.mktemp("model") / "films"
    nlp = train(blank(), KNOWN)
    ours = nlp.get_pipe("padellm_ner")
    ours.set_labels({"city": {"words": "city", "description": "A *town* | <b>big</b>"}, "movie": None})  # type: ignore[attr-defined]
    nlp.to_disk(folder)
    return folder
