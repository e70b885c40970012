"""The small world that the general domains talk about: topics, and the words that go with each.

Kept small and shared on purpose: a model of two million parameters learns these words within a minute.
"""

from __future__ import annotations

# topic: nouns (the usual companion first), then two adjectives
_ROWS = """
rivers: water stone fish boat, wide clear       violins: music wood hands song, soft sweet
dogs: ball fur grass road, warm strong          gardens: flower soil rain leaf, quiet bright
ships: sea wind wood iron, strong wide          stars: night sky light story, bright golden
trees: leaf wood bird soil, strong quiet        birds: sky nest wind song, bright gentle
cakes: sugar milk hands fire, sweet soft        books: paper story light time, fine quiet
trains: iron road smoke town, strong clear      horses: grass road king wind, strong gentle
drums: sound hands wood music, fine warm        castles: wall king stone door, wide golden
mountains: snow sky stone wind, wide clear      bees: honey flower sound sugar, golden gentle
clocks: time wall iron sound, quiet fine        lakes: fish water night boat, calm clear
roses: flower rain paper glass, sweet soft      kitchens: bread fire milk glass, warm golden
bridges: road water iron stone, strong calm     markets: bread people fish town, warm bright
lamps: light night glass door, soft warm        houses: door wall people fire, calm quiet
"""


def _parse(rows: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    table = {}
    for cell in (c for row in rows.splitlines() for c in row.split("  ") if c.strip()):
        topic, rest = cell.split(":")
        nouns, adjectives = rest.split(",")
        table[topic.strip()] = (tuple(nouns.split()), tuple(adjectives.split()))
    return table


TOPICS = _parse(_ROWS)
NOUNS = tuple(sorted({noun for nouns, _ in TOPICS.values() for noun in nouns}))


def related(topic: str) -> tuple[str, ...]:
    """All words that go with a topic, its usual companion first."""
    nouns, adjectives = TOPICS[topic]
    return nouns + adjectives
