"""Formulas for a terminal: LaTeX as plain Unicode, as far as a line of text can go."""

from __future__ import annotations

import re

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
SIGNS = {
    "sum": "Σ", "prod": "Π", "int": "∫", "partial": "∂", "nabla": "∇", "infty": "∞", "odot": "⊙", "cdot": "·", "times": "×",
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "sim": "~", "propto": "∝", "to": "→",
    "rightarrow": "→", "leftarrow": "←", "Rightarrow": "⇒", "in": "∈", "notin": "∉", "subset": "⊂", "cup": "∪", "cap": "∩",
    "forall": "∀", "exists": "∃", "pm": "±", "ldots": "…", "dots": "…", "cdots": "⋯", "top": "ᵀ", "ell": "ℓ", "mid": "|",
    "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lvert": "|", "rvert": "|", "langle": "⟨", "rangle": "⟩", "star": "*",
    "ast": "*", "circ": "∘", "oplus": "⊕", "quad": "  ", "qquad": "    ", "prime": "′", "colon": ":", "equiv": "≡", "ll": "≪",
    "gg": "≫", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "{": "{", "}": "}", ",": " ", ";": " ",
    ":": " ", "!": "", " ": " ", "\\": "\n", "mapsto": "↦",
}  # fmt: skip
SILENT = ("left", "right", "big", "Big", "bigg", "Bigg", "textstyle", "displaystyle")  # they change sizes only
HATS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "vec": "\u20d7", "dot": "\u0307"}
RAISED = dict(zip("0123456789+-=()nijkTt′ᵀ*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱʲᵏᵀᵗ′ᵀ*", strict=True))
LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}^_&]|\s+|.", re.S)


def to_unicode(tex: str) -> str:
    """A formula as text: Greek letters and signs, raised and lowered characters where Unicode has them, a / b for fractions.

    A command that is not listed here gives its name: right for log and max, and nothing is lost without a trace.
    """
    tokens = TOKEN.findall(tex)
    text = _sequence(tokens, until=None)
    return re.sub(r"[ \t]+", lambda m: "   " if len(m[0]) > 3 else " ", text).strip()


def _sequence(tokens: list[str], until: str | None) -> str:
    parts: list[str] = []
    while tokens:
        if tokens[0] == until:
            tokens.pop(0)
            break
        parts.append(_one(tokens))
    return "".join(parts)


def _one(tokens: list[str]) -> str:
    """The text of the next thing: a character, a group, or a command with what it takes."""
    token = tokens.pop(0)
    if token == "{":
        return _sequence(tokens, "}")
    if token in "^_":
        return _script(_argument(tokens), RAISED if token == "^" else LOWERED, token)
    if token == "&":
        return " "
    if not token.startswith("\\"):
        return " " if token.isspace() else token
    name = token[1:]
    if name in ("frac", "tfrac", "dfrac"):
        above, below = _argument(tokens), _argument(tokens)
        return f"{_grouped(above)}/{_grouped(below)}"
    if name == "sqrt":
        return f"√{_grouped(_argument(tokens))}"
    if name in HATS:
        return _argument(tokens) + HATS[name]
    if name in ("text", "mathrm", "mathbf", "mathcal", "mathbb", "operatorname", "texttt", "boldsymbol", "mathit"):
        return _argument(tokens)
    if name in ("begin", "end"):
        _argument(tokens)
        return "\n" if name == "begin" else ""
    if name in SILENT:
        return ""
    return GREEK.get(name) or SIGNS.get(name, name)


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[0].isspace():
        tokens.pop(0)
    return _one(tokens) if tokens else ""


def _script(text: str, table: dict[str, str], mark: str) -> str:
    text = text.strip()
    if text and all(c in table for c in text):
        return "".join(table[c] for c in text)
    return mark + (text if len(text) == 1 else f"({text})")


def _grouped(text: str) -> str:
    text = text.strip()
    return text if re.fullmatch(r"[\w′]+|[^\W\d][₀-ₜᵢ-ᵥ]*", text) else f"({text})"
