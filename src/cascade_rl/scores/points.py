"""Shares in percentage points, as the files of a run say them."""


def in_points(share: float, *, sign: bool = False) -> str:
    """A share in points with one decimal: 0.04 is `4.0`, with a sign `+4.0`."""
    return f"{100 * share:{'+' if sign else ''}.1f}"
