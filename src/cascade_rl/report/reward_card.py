"""The card of a reward model: base, data, how often it is right, and how to read a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cascade_rl import __version__
from cascade_rl.report.card import lineage_markdown, settings_markdown
from cascade_rl.report.numbers import bounds, percent
from cascade_rl.run.files import write_text
from cascade_rl.scores.statistics import wilson

TAGS = ["cascade-rl", "reward-model"]
# Run by a test as it stands, in the folder of the card.
SNIPPET = '''\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

path = "."  # the folder of this card
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()


def score(messages, answer):
    """Of an answer to a conversation that ends with a user's turn."""
    chat = [*messages, {"role": "assistant", "content": answer}]
    ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        return model(**ids).logits[0, 0].item()


asked = [{"role": "user", "content": "Name a colour."}]
print(score(asked, "Blue."), score(asked, "I'd rather not say."))
'''
READING = (
    "Only differences between answers to one prompt mean something: the scale has no zero. The chat template "
    "of this folder renders what was trained: a direct answer without its thought, up to its end mark. A "
    "policy that was trained against this model may have learnt to please it: let another judge."
)


def write_reward_card(
    folder: Path,
    stage: Mapping[str, Any],
    licence: Mapping[str, str] | None = None,
    weights: Sequence[str] = (),
) -> None:
    """Write the README.md of an exported reward model; `stage` is the content of its stage.json.

    `licence` are the keys of its front matter, `weights` lines on what became of its numbers since training.
    """
    write_text(folder / "README.md", reward_card_text(stage, licence or {}, weights))


def reward_card_text(stage: Mapping[str, Any], licence: Mapping[str, str], weights: Sequence[str]) -> str:
    """The whole card as Markdown."""
    told = {"library_name": "transformers", **licence, "pipeline_tag": "text-classification", "tags": TAGS}
    lineage = stage["lineage"]
    parent = f"the policy after {lineage['parent']}" if lineage["parent"] != "base" else "the base model"
    start = f"{parent} (weights {lineage['incoming_weights']})"
    if outside := lineage.get("outside"):
        known = f"commit {outside['commit']}" if outside["commit"] else f"files {outside['content']}"
        start = f"{outside['asked']} ({known})"
    parts = [
        f"---\n{yaml.safe_dump(told, sort_keys=False)}---",
        f"# {lineage['run']}: the reward model of {stage['stage']}",
        f"Made by cascade-rl {__version__} from {start}: its body with a scalar head on the last "
        "token, trained on pairs of answers (Bradley-Terry).",
        "## Accuracy\n\n" + _accuracy(stage),
        f"## How to read a score\n\n```python\n{SNIPPET}```\n\n{READING}",
        *(["## Weights\n\n" + "\n".join(f"- {line}" for line in weights)] if weights else []),
        "## Data\n\n" + "\n".join(f"- {line}" for line in stage["data"]),
        "## Lineage\n\n" + lineage_markdown(lineage),
        settings_markdown(stage["settings"]),
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(stage: Mapping[str, Any]) -> str:
    share, count = stage.get("heldout_pair_accuracy"), stage.get("heldout_pairs")
    if share is None or not count:
        return "Not measured."
    inside = bounds(*wilson(share * count, count))
    return (
        f"Of {count} held-out pairs, each counted once, the chosen answer scores higher in "
        f"{percent(share)} % (95 % interval {inside}); a tie is half, guessing 50."
    )
