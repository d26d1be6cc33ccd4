"""Figures of PaDeLLM-NER's paper (Lu et al., NeurIPS 2024, arXiv 2402.04838) that ours stand beside.

Its models are Llama-2-7B (English sets) and Baichuan2-7B (Chinese sets) on an NVIDIA A100. Latencies are means over the
documents of a test part, one document at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

_SETS = ("conll03", "ace05", "genia", "weibo", "msra", "ontonotes4", "resume", "youku", "ecommerce")


def _row(*figures: float) -> Mapping[str, float]:
    return dict(zip(_SETS, figures, strict=True))


LENGTHS = {
    "augmented": _row(33.85, 37.10, 60.50, 45.02, 27.42, 35.90, 30.39, 18.21, 31.50),
    "structured": _row(28.36, 49.95, 49.03, 62.45, 18.97, 25.53, 53.02, 18.56, 22.51),
    "padellm": _row(6.54, 8.29, 10.05, 2.19, 2.23, 2.68, 4.87, 3.66, 3.27),
}
"""Generated pieces per sequence (Table 14). The paper does not say what it counts as a sequence of PaDeLLM."""

LATENCIES = {
    "augmented": _row(992.70, 944.90, 1515.35, 1276.32, 812.78, 1009.68, 982.39, 579.99, 845.42),
    "structured": _row(753.36, 1293.87, 1266.31, 1630.62, 609.34, 783.28, 1462.56, 598.59, 738.20),
    "padellm multi": _row(229.74, 255.53, 316.90, 159.57, 143.47, 171.67, 238.27, 203.63, 293.40),
    "padellm batch": _row(333.89, 498.50, 616.01, 344.75, 204.24, 288.43, 459.20, 241.25, 419.40),
}
"""Milliseconds a document (Table 2). A speed-up is the quotient of two of them (Figure 3)."""
