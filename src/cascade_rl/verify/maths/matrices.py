r"""Matrices as rows of texts: every environment, rows in brackets, and sums and multiples of them."""

from __future__ import annotations

import re

from cascade_rl.verify.maths.notation import partners
from cascade_rl.verify.maths.numbers import rational
from cascade_rl.verify.maths.splitting import split

Cells = list[list[str]]
MOST_CELLS = 100
_BEGIN = re.compile(r"\\begin\{(array|[pbBvV]?matrix|smallmatrix)\}(?: ?\{[lcr| ]*\}| ?\[[lcr]\])?")
_ALONE = re.compile(_BEGIN.pattern + r"(.*)\\end\{\1\}", re.DOTALL)
_COMMA = re.compile(", ?")
_RELATION = re.compile("[=<>≤≥≠∈,]")
_SIGNS = re.compile(r"[+-]")
_ROW = re.compile(r"\\\\(?: ?\[[^\[\]]*\])?|\\hline|\\cr(?![A-Za-z])")


def matrix_cells(text: str) -> tuple[str, Cells] | None:
    """What a matrix is, `matrix` or `determinant`, and its cells; None for anything else."""
    if text.startswith("[["):
        return _brackets(text)
    if "\\begin" not in text:
        return None
    if (found := _one(text)) is not None:
        return found
    return _sum(text)


def _one(text: str) -> tuple[str, Cells] | None:
    """A matrix alone, with brackets around or in it."""
    kind, text = "matrix", text.strip()
    for opening, closing, bracket in (("[", "]", "matrix"), ("(", ")", "matrix"), ("|", "|", "determinant")):
        if text.startswith(opening) and text.endswith(closing) and text[1:].lstrip().startswith("\\begin"):
            kind, text = bracket, text[1:-1].strip()
            break
    match = _ALONE.fullmatch(text)
    if not match or "\\begin" in match[2]:
        return None
    if match[1] in ("vmatrix", "Vmatrix"):
        kind = "determinant"
    lines = [line for line in _ROW.split(match[2]) if line and line.strip()]
    cells = [[cell.strip() for cell in line.split("&")] for line in lines]
    return (kind, cells) if sum(map(len, cells)) <= MOST_CELLS else None


def _brackets(text: str) -> tuple[str, Cells] | None:
    r"""`[[1,2],[3,4]]`."""
    pairs = partners(text)
    if pairs.get(0) != len(text) - 1:
        return None
    rows = split(text[1:-1], _COMMA)[0]
    if len(rows) < 2 or not all(row.startswith("[") and row.endswith("]") for row in rows):
        return None
    cells = [split(row[1:-1], _COMMA)[0] for row in rows]
    return ("matrix", cells) if len(set(map(len, cells))) == 1 else None


def _sum(text: str) -> tuple[str, Cells] | None:
    """Matrices with numbers before them, added or taken away."""
    terms, signs = split(text, _SIGNS)
    if not terms[0]:
        terms, signs = terms[1:], [signs[0], *signs[1:]]
    else:
        signs = ["+", *signs]
    total: Cells | None = None
    for term, sign in zip(terms, signs, strict=True):
        found = _multiple(term)
        if found is None or (total is not None and [len(r) for r in total] != [len(r) for r in found]):
            return None
        signed = [[_product("-1", cell) if sign == "-" else cell for cell in row] for row in found]
        if total is None:
            total = signed
        else:
            total = [
                [_plus(*pair) for pair in zip(*rows, strict=True)] for rows in zip(total, signed, strict=True)
            ]
    return None if total is None else ("matrix", total)


def _multiple(term: str) -> Cells | None:
    begin = _BEGIN.search(term)
    if begin is None:
        return None
    at = begin.start()
    if term[:at].rstrip().endswith(("[", "(")):
        at = len(term[:at].rstrip()) - 1
    found = _one(term[at:])
    # a determinant is a number, and a matrix times one no plain multiple
    if found is None or found[0] != "matrix":
        return None
    if _RELATION.search(term[:at]):
        return None
    factor = term[:at].strip().removesuffix(r"\cdot").strip()
    return [[_product(factor, cell) for cell in row] for row in found[1]] if factor else found[1]


def _product(factor: str, cell: str) -> str:
    a, b = rational(factor), rational(cell)
    return rf"({factor})\cdot ({cell})" if a is None or b is None else str(a * b)


def _plus(one: str, other: str) -> str:
    a, b = rational(one), rational(other)
    return f"({one})+({other})" if a is None or b is None else str(a + b)
