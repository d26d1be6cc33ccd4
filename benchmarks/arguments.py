"""What numbers on the command line may be."""

from __future__ import annotations

import argparse


def whole(text: str) -> int:
    """A type for argparse: how many of something there are to be, at least one."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number
