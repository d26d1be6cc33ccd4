"""Checks of numbers that come from a config. Confection lets a quoted number ("64") pass for a number."""

from __future__ import annotations

import math

from spacy_padellm.errors import Errors


def check_whole(name: str, got: object, *, least: int = 1) -> None:
    """RAISES (ValueError): P001 unless the setting is a whole number of at least `least`."""
    if isinstance(got, bool) or not isinstance(got, int) or got < least:
        raise ValueError(Errors.P001.format(name=name, expected=f"a whole number, at least {least}", got=got))


def check_number(name: str, got: object, *, least: float = 0.0, most: float = math.inf) -> None:
    """RAISES (ValueError): P001 unless the setting is a number between `least` and `most`, both included."""
    if isinstance(got, bool) or not isinstance(got, (int, float)) or not least <= got <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
        raise ValueError(Errors.P001.format(name=name, expected=f"a number {bounds}", got=got))
