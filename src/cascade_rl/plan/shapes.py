"""The shape of the model that a recipe starts from, found without a network and without its weights.

From the recipe (scratch), from config.json of a directory or of a hub's cache, else from a table of public
shapes. A mixture of experts has a shape, too, although our own engine has no way to train one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError, NotFused
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.network import Size
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.hub_name import read_hub_name

# hidden, intermediate (of an expert), layers, heads, key-value heads, head size, tied; config.json of each
PUBLIC: dict[str, tuple[str, int, int, int, int, int, int, int, bool]] = {
    "SmolLM2-135M": ("llama", 49152, 576, 1536, 30, 9, 3, 64, True),
    "Qwen3-0.6B": ("qwen3", 151936, 1024, 3072, 28, 16, 8, 128, True),
    "Qwen3-1.7B": ("qwen3", 151936, 2048, 6144, 28, 16, 8, 128, True),
    "Qwen3-4B": ("qwen3", 151936, 2560, 9728, 36, 32, 8, 128, True),
    "Qwen3-8B": ("qwen3", 151936, 4096, 12288, 36, 32, 8, 128, False),
    "Qwen3-14B": ("qwen3", 151936, 5120, 17408, 40, 40, 8, 128, False),
    "Qwen3-30B-A3B": ("qwen3_moe", 151936, 2048, 768, 48, 32, 4, 128, False),
    "Qwen2.5-72B": ("qwen2", 152064, 8192, 29568, 80, 64, 8, 128, False),
}
EXPERTS, CHOSEN = 128, 8  # of Qwen3-30B-A3B
KEYS = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "tie_word_embeddings",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as a plan sees it; `source` says in words where its numbers are from.

    parameters  all of its numbers
    active      those of a token: `size` counts them alone
    experts     of a layer, of which a token passes `chosen`; 0 for a dense model
    expert      numbers of the matrices of one expert
    decoder     what our own engine computes it by; None where it has no way to
    positions   of a prompt and its reply together; without bound where nobody says
    """

    name: str
    source: str
    parameters: int
    active: int
    found: Size
    hidden: int
    vocab: int
    experts: int = 0
    chosen: int = 0
    expert: int = 0
    decoder: DecoderConfig | None = None
    positions: int = 1 << 20

    def size(self) -> Size:
        """What a token costs; see `model.cost`."""
        return self.found

    @property
    def matrices(self) -> int:
        """Numbers of all layers' matrices, those of all experts."""
        return self.found.matrices + self.found.layers * (self.experts - self.chosen) * self.expert

    def touched(self, tokens: int) -> float:
        """Numbers of the layers' matrices that a step of so many tokens reads: of chosen experts alone."""
        if not self.experts:
            return float(self.found.matrices)
        # each token leaves an expert out with this probability, if all are as likely
        missed = (1 - self.chosen / self.experts) ** max(1, tokens)
        read = self.experts * (1 - missed)
        return self.found.matrices + self.found.layers * (read - self.chosen) * self.expert


def shape_of(raw: Mapping[str, Any], name: str, source: str) -> Shape:
    """By the dictionary of a config.json; raises InputError for one that lacks what is counted."""
    try:
        decoder = DecoderConfig.from_hf(raw)
    except NotFused:
        return _by_keys(raw, name, source)
    except KeyError as error:
        raise InputError(f"{name}: config.json lacks {error}") from None
    total = sum(prod(shape) for shape in decoder.shapes().values())
    positions = int(raw.get("max_position_embeddings") or 1 << 20)
    return Shape(
        name,
        source,
        total,
        total,
        decoder.size(),
        decoder.hidden,
        decoder.vocab,
        decoder=decoder,
        positions=positions,
    )


def _by_keys(raw: Mapping[str, Any], name: str, source: str) -> Shape:
    """A family that is not ours: attention and gated units by the usual keys, experts if any."""
    try:
        vocab, hidden, layers, heads = (
            int(raw[key]) for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{name}: config.json names no shape that a plan can count by") from None
    kv = int(raw.get("num_key_value_heads") or heads)
    head = int(raw.get("head_dim") or hidden // heads)
    experts = int(raw.get("num_experts") or raw.get("n_routed_experts") or raw.get("num_local_experts") or 0)
    chosen = int(raw.get("num_experts_per_tok") or 0) if experts else 0
    wide = int(raw.get("intermediate_size") or 4 * hidden)
    expert = 3 * hidden * int(raw.get("moe_intermediate_size") or wide) if experts else 0
    attention = hidden * head * (2 * heads + 2 * kv)
    behind = (chosen * expert + experts * hidden) if experts else 3 * hidden * wide
    matrices = layers * (attention + behind)
    norms = layers * (2 * hidden + (2 * head if "qwen3" in str(raw.get("model_type")) else 0)) + hidden
    tables = vocab * hidden * (1 if raw.get("tie_word_embeddings") else 2)
    gated = 2 * (int(raw.get("moe_intermediate_size") or wide) if experts else wide)
    size = Size(
        matrices, vocab * hidden, heads * head * hidden + behind, layers, heads * head, kv * head, gated
    )
    active = matrices + norms + tables
    total = active + layers * (experts - chosen) * expert
    return Shape(name, source, total, active, size, hidden, vocab, experts, chosen, expert)


def public(name: str) -> Shape:
    """A shape of the table."""
    raw: dict[str, Any] = dict(zip(KEYS, PUBLIC[name], strict=True))
    if raw["model_type"] == "qwen3_moe":
        raw |= {
            "num_experts": EXPERTS,
            "num_experts_per_tok": CHOSEN,
            "moe_intermediate_size": raw["intermediate_size"],
        }
    return shape_of(raw, name, "table of public shapes")


def recipe_shape(recipe: Recipe) -> Shape:
    """The model of a recipe; raises InputError where nothing at hand tells its shape."""
    spec = recipe.model
    if spec.architecture is not None and spec.tokenizer is not None:
        own = spec.architecture.model_dump()
        raw = own | {
            "model_type": "qwen3",
            "vocab_size": spec.tokenizer.vocab_size,
            "tie_word_embeddings": True,
        }
        return shape_of(raw, "scratch", "recipe: model.architecture")
    return named_shape(spec.init, spec.commit)


def named_shape(init: str, commit: str | None = None) -> Shape:
    """The model of a directory, of a hub's cache, or of a public name."""
    file = Path(init).expanduser() / "config.json"
    if file.is_file():
        return _read(file, init, f"{init}/config.json")
    hub = read_hub_name(init)
    cached = _cached(hub.repo, commit or hub.revision) if hub else None
    if cached:
        return _read(cached, init, "config.json in the hub's cache")
    return _by_name(init)


def _read(file: Path, name: str, source: str) -> Shape:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{file} holds no JSON object; copy it again")
    return shape_of(raw, name, source)


def _cached(repo: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    return Path(found) if isinstance(found, str) else None


def _by_name(init: str) -> Shape:
    """By what a name says: one of the table, else the one of the table that is nearest in size."""
    plain = re.sub(r"@.*$", "", init).rsplit("/", 1)[-1].lower()
    for name in sorted(PUBLIC, key=len, reverse=True):
        if plain.startswith(name.lower()):
            return public(name)
    # 30B-A3B: a mixture; 8B: dense
    said = re.search(r"(?P<size>[0-9]+(?:\.[0-9]+)?)b(?P<mixture>-a[0-9.]+b)?(?![a-z0-9])", plain)
    if said is None:
        raise InputError(
            f"the shape of {init} is not known here: name a directory with its config.json (model.init), or "
            f"fetch it once (cascade check); known without: {', '.join(PUBLIC)}"
        )
    wanted = float(said["size"]) * 1e9
    alike = [public(name) for name in PUBLIC if bool(PUBLIC[name][0] == "qwen3_moe") == bool(said["mixture"])]
    near = min(alike, key=lambda shape: abs(shape.parameters / wanted - 1))
    said_so = f"assumed to be shaped as {near.name}: its own config.json is not at hand"
    return replace(near, name=init, source=said_so)
