"""Low-rank adapters as a config block."""

from dataclasses import dataclass

from spacy_padellm.errors import Errors
from spacy_padellm.settings import check_number, check_whole


@dataclass(frozen=True)
class LoRA:
    """A LoRA adapter (Hu et al., 2021).

    rank (int): Rank of the update of each weight.
    alpha (float): The update is scaled by alpha / rank.
    dropout (float | None): Dropout on the adapter's input while training; None for the one of `training.dropout`.
    target_modules (list[str] | str): Names of the linear layers that get one; "all-linear" for all but the output.
    adapter (str | None): Hub id or folder of an adapter that is there already; rank, alpha and target modules are its.
    revision (str | None): Commit, tag or branch of that adapter on the hub.
    """

    rank: int
    alpha: float
    dropout: float | None
    target_modules: list[str] | str
    adapter: str | None = None
    revision: str | None = None


def build_lora_v1(
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float | None = None,
    target_modules: list[str] | str = "all-linear",
    adapter: str | None = None,
    revision: str | None = None,
) -> LoRA:
    """A LoRA adapter for `spacy-padellm.CausalLM.v1`.

    adapter (str | None): Start from an adapter of PEFT: `initialize` takes its weights, training goes on from them. It
        brings its own rank, alpha and target modules, and those given here do not count.
    RETURNS (LoRA): The settings.
    RAISES (ValueError): P001 for a rank below 1, a dropout outside [0, 1), or a revision of no adapter.
    """
    check_whole("lora.rank", rank)
    check_number("lora.alpha", alpha)
    if dropout is not None:
        check_number("lora.dropout", dropout)
    if dropout is not None and dropout >= 1:
        raise ValueError(Errors.P001.format(name="lora.dropout", expected="0 <= dropout < 1", got=dropout))
    if revision is not None and adapter is None:
        raise ValueError(Errors.P001.format(name="lora.revision", expected="none without 'adapter'", got=revision))
    return LoRA(rank, alpha, dropout, target_modules, adapter, revision)
