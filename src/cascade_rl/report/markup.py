"""Small pieces of HTML: escaping, tables, parts that open, and JSON of any shape as lists and tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cascade_rl.report.numbers import DASH

LONGEST_LIST = 60  # entries that are written out
# control characters, direction overrides (which could reorder a page), and halves of surrogate pairs
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def esc(raw: Any) -> str:
    """Text for an element or a quoted attribute; control and direction-override characters become visible."""
    return html.escape(CONTROL.sub("\ufffd", str(raw)), quote=True)


def words(key: str) -> str:
    """A JSON key as words."""
    return esc(key).replace("_", " ")


def slug(name: str) -> str:
    """A name as part of an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "x"


def moment(epoch: float | None) -> str:
    """A point in time, UTC, for readers and machines."""
    if epoch is None:
        return DASH
    when = datetime.fromtimestamp(epoch, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%-d %B %Y, %H:%M} UTC</time>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "plain") -> str:
    """A table of ready-made HTML cells, the first of a row its header; it scrolls rather than overflows."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    inside = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="{css}">{inside}</table></div>'


def details(summary: str, body: str, css: str = "", opened: bool = False) -> str:
    """A part that opens on a click; `summary` and `body` are HTML."""
    return f'<details class="{css}"{" open" if opened else ""}><summary>{summary}</summary>{body}</details>'


def _scalar(raw: Any) -> str:
    if raw is None or raw == "":
        return f'<span class="quiet">{DASH}</span>'
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    return esc(f"{raw:,}" if isinstance(raw, int) and abs(raw) >= 10000 else raw)


def _is_records(raw: list[Any]) -> bool:
    return bool(raw) and all(isinstance(row, Mapping) and row and len(row) <= 7 for row in raw)


def json_html(raw: Any, depth: int = 0) -> str:
    """Any JSON value: objects as definition lists, lists of like objects as tables, the rest as text."""
    # a file may nest as deep as it likes; a page that does is read by nobody
    if depth > 6:
        return f"<code>{esc(raw)}</code>"
    if isinstance(raw, Mapping):
        pairs = (f"<dt>{words(key)}</dt><dd>{json_html(value, depth + 1)}</dd>" for key, value in raw.items())
        return f'<dl class="json">{"".join(pairs)}</dl>' if raw else _scalar(None)
    if isinstance(raw, list) and len(raw) > LONGEST_LIST:
        return (
            json_html(raw[:LONGEST_LIST], depth)
            + f'<p class="quiet">… and {len(raw) - LONGEST_LIST:,} more.</p>'
        )
    if isinstance(raw, list) and _is_records(raw):
        keys = list(dict.fromkeys(key for row in raw for key in row))
        rows = ([json_html(row.get(key), depth + 1) for key in keys] for row in raw)
        return table([words(key) for key in keys], rows)
    if isinstance(raw, list):
        return ", ".join(json_html(value, depth + 1) for value in raw) or _scalar(None)
    return _scalar(raw)
