"""Change Python source at the places of its syntax nodes, leaving every other character as it was."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import accumulate

Placed = ast.expr | ast.stmt  # the nodes that the parser gives a place in the text


class Source:
    """A text with its syntax tree; a span is a pair of byte offsets.

    Raises SyntaxError or ValueError for what is no Python.
    """

    def __init__(self, text: str) -> None:
        # the parser takes the mark only from bytes, and columns don't count it
        self._mark = text[:1] if text.startswith("\ufeff") else ""
        self.text = text[len(self._mark) :]
        self.tree = ast.parse(self.text)
        self._bytes = self.text.encode()
        # byte offsets, since the parser's columns are bytes
        self._starts = [0, *accumulate(len(line) for line in self._bytes.splitlines(keepends=True))]

    def at(self, line: int, column: int) -> int:
        """The offset of a 1-based line and a column in bytes, as nodes have them."""
        return self._starts[line - 1] + column

    def span(self, node: Placed) -> tuple[int, int]:
        """Where a node begins and ends."""
        # only a node that a program has made may lack its end
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def lines(self, node: ast.stmt) -> tuple[int, int]:
        """The whole lines of a statement, with its decorators and the last newline."""
        assert node.end_lineno is not None
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        # the last line may lack its newline, and then no line starts behind it
        return self._starts[first - 1], self._starts[min(node.end_lineno, len(self._starts) - 1)]

    def part(self, start: int, stop: int) -> str:
        """The text of a span."""
        return self._bytes[start:stop].decode()

    def rest_of_line(self, node: Placed) -> str:
        """What stands on its last line behind a node."""
        end = self.span(node)[1]
        stop = next((start for start in self._starts if start > end), len(self._bytes))
        return self.part(end, stop)

    def changed(self, changes: Iterable[tuple[int, int, str]]) -> str:
        """The text with spans replaced; they must not overlap."""
        out: list[bytes] = []
        at = 0
        # insertions at one place come in the order of their text
        for start, stop, new in sorted(changes):
            out += [self._bytes[at:start], new.encode()]
            at = stop
        return self._mark + b"".join([*out, self._bytes[at:]]).decode()
