"""Formulas in the terminal."""

from __future__ import annotations

import pytest

from nnatomy.atlas.formulas import to_unicode
from nnatomy.atlas.terminal import readable
from nnatomy.catalog import architectures


@pytest.mark.parametrize(
    "tex, text",
    [
        (r"z_l = h_{l-1} W_l^\top + b_l", "zₗ = hₗ₋₁ Wₗᵀ + bₗ"),
        (r"\frac{\partial \ell}{\partial y}", "(∂ ℓ)/(∂ y)"),
        (r"\tfrac12", "1/2"),
        (r"\sum_i x_i^2 \le \alpha", "Σᵢ xᵢ² ≤ α"),
        (r"e^{-y_i}", "e^(-yᵢ)"),
        (r"\lVert W \rVert", "‖ W ‖"),
        (r"w^\star", "w*"),
        (r"\hat y \in \mathbb{R}^n", "y\u0302 ∈ Rⁿ"),
        (r"a \text{ or } b", "a or b"),
        (r"\sqrt{x + 1}", "√(x + 1)"),
        (r"x \mapsto A B x + c", "x ↦ A B x + c"),
        (r"\Big(\log x\Big)", "(log x)"),
        (r"a \unheardof b", "a unheardof b"),  # what is not known is shown, not swallowed
    ],
)
def test_known_formulas(tex: str, text: str) -> None:
    assert to_unicode(tex) == text


@pytest.mark.parametrize("name", list(architectures()))
def test_no_page_shows_latex_in_the_terminal(name: str) -> None:
    text = readable(architectures()[name].page)
    assert "$" not in text
    for command in ("\\frac", "\\sum", "\\partial", "\\begin", "\\alpha", "\\mathbb"):
        assert command not in text


def test_page_in_the_terminal() -> None:
    page = (
        "$x^2$ <!-- code: f -->\n<!-- picture -->\n"
        "See the [MLP](../mlp/page.md) and the [LSTM](../../recurrent/lstm/page.md).\n\n"
        "1. How many?\n   <details><summary>Answer</summary>\n\n   $2 \\cdot 3 = 6$.\n\n   </details>\n2. Why?\n\n"
        "```python\nprint('$a$ <!-- stays -->')\n```\n"
    )
    assert readable(page) == (
        "x² See the MLP (`nnatomy info mlp`) and the LSTM (`nnatomy info lstm`).\n\n"
        "1. How many?\n   \n   *Answer:*\n\n   2 · 3 = 6.\n\n2. Why?\n\n"
        "```python\nprint('$a$ <!-- stays -->')\n```\n"
    )
