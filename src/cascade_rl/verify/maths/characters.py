"""Unicode in answers, written as LaTeX would: superscripts, fractions, full-width signs, Greek, blanks."""

from __future__ import annotations

import re
import unicodedata

# private use characters: no answer can hold them, since they are taken out first
TEXT, ENDTEXT = "\ue000", "\ue001"

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙₖ", "0123456789+-nk", strict=True))
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Σ": "Sigma", "Φ": "Phi",
    "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": "/", "∞": r"\infty ", "√": r"\sqrt", "≦": "≤", "≧": "≥",
    "⩽": "≤", "⩾": "≥", "∅": r"\emptyset ", "°": r"^\circ", "℃": r"^\circ C",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}", "’": "'", "′": "'", "\u00a0": " ", "~": " ", "～": r"\sim ", "∼": r"\sim ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle ", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∠": r"\angle ", "△": r"\triangle ",
    "∖": r"\setminus ", "⁄": "/", "∕": "/", "∶": ":", "∣": "|", "、": ", ",
    "，": ", ", "；": "; ", "。": ". ", "或": " or ", "和": " and ", "且": " and ", "∧": " and ",
    "∨": " or ", TEXT: "", ENDTEXT: "",
}  # fmt: skip
_TABLE = str.maketrans(
    _SIGNS | {letter: f"\\{name} " for letter, name in _GREEK.items()},
)
_RAISED = re.compile("[" + "".join(_SUPERSCRIPTS) + "]+")
_LOWERED = re.compile("[" + "".join(_SUBSCRIPTS) + "]+")
_FRACTION = re.compile(r"[\u00bc-\u00be\u2150-\u215e\u2189]")
# spacing, joining and direction marks, the soft hyphen and the byte order mark: nobody sees them
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")


def plain_characters(text: str) -> str:
    """A text without characters that LaTeX would write in another way; letters of words are left alone.

    Compatibility forms (NFKC: full-width digits, italic letters) are folded last, since that would turn
    `10⁵` into 105 and `ℝ` into R.
    """
    if text.isascii():
        return text.replace("~", " ")
    text = _INVISIBLE.sub("", text)
    text = _RAISED.sub(lambda m: "^{" + "".join(map(_SUPERSCRIPTS.__getitem__, m.group())) + "}", text)
    text = _LOWERED.sub(lambda m: "_{" + "".join(map(_SUBSCRIPTS.__getitem__, m.group())) + "}", text)
    text = _FRACTION.sub(_fraction, text)
    return unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)


def _fraction(match: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", match.group()).partition("⁄")
    return rf"\frac{{{above}}}{{{below}}}"
