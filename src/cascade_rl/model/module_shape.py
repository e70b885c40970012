"""The shape of a model by transformers' own modules, read from config.json, and its weights in files.

Weights have the modules' own names; how files call them is transformers' own business, both ways.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.config_faults import MOST_LAYERS
from cascade_rl.model.decoder import flat_size, views
from cascade_rl.model.hf_names import adapted_names
from cascade_rl.model.module_files import classifier_of, file_tensors, load_state
from cascade_rl.model.network import Network, Size
from cascade_rl.model.rope import BY_LENGTH
from cascade_rl.model.skeleton import Skeleton, config_of, skeleton
from cascade_rl.recipe.lora import ALL

# of config.json, what says nothing of the shape: an export writes them anew
UNSAID = ("dtype", "torch_dtype", "transformers_version", "_name_or_path", "architectures")
MOST_COUNT = 10**10  # of anything that config.json counts
ENDLESS = 1 << 20  # positions of a family that names no number of them


@dataclass(frozen=True, slots=True)
class ModuleShape(Network, ABC):
    """What a model of transformers consists of; see `from_hf`.

    settings  config.json as text: what the modules are made from
    family    its `model_type`
    limit     the most tokens of a text, where frequencies of RoPE depend on its length; else None
    """

    settings: str
    family: str
    limit: int | None = None

    BY: ClassVar[str] = "transformers' own modules, slower"
    SHARES: ClassVar[bool] = False

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any], reason: str = "asked for") -> Self:
        """From a Hugging Face config's dictionary; `reason` is why the fused decoder does not compute it.

        Raises InputError for what transformers has no causal language model for.
        """
        family = str(raw.get("model_type"))
        _refuse(raw, family, reason)
        config = config_of(raw)
        _refuse_sizes(config)
        if config.get_text_config() is not config:
            raise InputError(
                f"{reason}; transformers' {family} reads more than text, and can be trained here only as its "
                "text model alone: save that with save_pretrained"
            )
        settings = {key: value for key, value in raw.items() if key not in UNSAID}
        text = json.dumps(settings, sort_keys=True)
        most = _first(config, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
        return cls(
            config.vocab_size, config.hidden_size, most or ENDLESS, text, family, _rope_limit(config, most)
        )

    @property
    def skeleton(self) -> Skeleton:
        """The modules, made on first use in each process."""
        return skeleton(self.settings)

    def special(self) -> tuple[str, ...]:
        """The class, windows, experts."""
        config, found = self.skeleton.model.config, [type(self.skeleton.model).__name__]
        if experts := _experts(config)[0]:
            found.append(f"{experts} experts, whose balancing loss is not trained")
        if not self.skeleton.padded:
            found.append("decodes rows of equal length together")
        return tuple(found)

    def key(self) -> dict[str, str]:
        """Names and shapes of the parameters, which another version of transformers may change."""
        text = json.dumps(list(self.shapes().items()))
        return {"modules": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By the modules' own names, tied weights once, buffers that files hold last."""
        return dict(self.skeleton.shapes)

    def names(self) -> dict[str, list[tuple[str, int]]]:
        """Each is itself."""
        return {name: [(name, shape[0] if shape else 1)] for name, shape in self.shapes().items()}

    def fixed(self) -> frozenset[str]:
        """Buffers."""
        return self.skeleton.fixed

    def is_matrix(self, name: str) -> bool:
        """The weights of linear layers; of experts that are stacked in three dimensions none."""
        return name in self.skeleton.low

    def by_token(self) -> tuple[str, ...]:
        """Embedding and head, its bias included."""
        return tuple(dict.fromkeys((self.skeleton.embeds, *self.skeleton.heads)))

    def reading_out(self) -> tuple[str, ...]:
        """The head, or the embedding that is tied to it."""
        return self.skeleton.heads or (self.skeleton.embeds,)

    def widened(self, vocab: int) -> Self:
        """Raises InputError of a family that has more tables by token than embedding and head."""
        raw = json.loads(self.settings) | {"vocab_size": vocab}
        wider = replace(self, vocab=vocab, settings=json.dumps(raw, sort_keys=True))
        rest = self.shapes().keys() - set(self.by_token())
        own, others = self.shapes(), wider.shapes()
        if own.keys() != others.keys() or any(own[name] != others[name] for name in rest):
            raise InputError(f"tokens can't be added to a model of the family {self.family}")
        return wider

    def adapted(self, targets: Sequence[str]) -> list[str]:
        """The recipe's default, all projections that Llama has, means all linear layers here."""
        names = sorted(self.skeleton.low)
        if set(targets) == set(ALL):
            return names
        return adapted_names(names, targets)

    def turned(self, name: str) -> bool:
        """GPT-2's Conv1D."""
        return name in self.skeleton.turned

    def tensors(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """As transformers' `save_pretrained` names them."""
        yield from file_tensors(self.skeleton.model, views(flat.detach(), self.shapes())).items()

    def file_shapes(self) -> dict[str, tuple[int, ...]]:
        """None: files of several ages name the same weights otherwise, and transformers knows them all."""
        return {}

    def flat(self, state: Mapping[str, Tensor], where: str = "the model") -> Tensor:
        """Raises InputError also of tensors that the model has no place for."""
        flat = torch.empty(flat_size(self.shapes()))
        loaded = load_state(self.skeleton.model.config, state, where)
        for name, view in views(flat, self.shapes()).items():
            view.copy_(loaded[name])
        return flat

    def head_only(self) -> dict[str, tuple[int, ...]]:
        """What is no part of the body, by the names in files."""
        model = self.skeleton.model
        own = {
            name: torch.empty(shape, device="meta")
            for name, shape in self.shapes().items()
            if not name.startswith(f"{model.base_model_prefix}.")
        }
        return {name: tuple(tensor.shape) for name, tensor in file_tensors(model, own).items()}

    def classifier(self, raw: Mapping[str, Any]) -> str:
        """By transformers' own table."""
        return classifier_of(self.skeleton.model.config)

    def rope_theta(self) -> float:
        """Raises InputError of a family without RoPE, or with one for each kind of layer."""
        told = getattr(self.skeleton.model.config, "rope_parameters", None) or {}
        if not isinstance(told.get("rope_theta"), (int, float)):
            raise InputError(f"model.rope_scaling: the family {self.family} has no single RoPE to scale")
        return float(told["rope_theta"])

    def check(self, tokens: int) -> None:
        """Positions end where a table of them does, or where all frequencies would change."""
        if self.limit is not None and tokens > self.limit:
            raise InputError(
                f"a text of {tokens} tokens: this RoPE is supported up to its original {self.limit} tokens, "
                "since beyond them all its frequencies change with the length; lower prompt and response "
                "lengths"
            )

    def size(self) -> Size:
        """Of experts the active ones alone; attention by the config's heads, none where it names none."""
        return _size(self)


def _refuse(raw: Mapping[str, Any], family: str, reason: str) -> None:
    """Raise InputError for what can't be a causal model of transformers that is trained."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    if family not in CONFIG_MAPPING:
        raise InputError(f"{reason}; nor does transformers know it")
    kind = CONFIG_MAPPING[family]
    both_ways = kind in MODEL_FOR_MASKED_LM_MAPPING and not raw.get("is_decoder")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING or both_ways or raw.get("is_encoder_decoder"):
        raise InputError(f"{reason}; nor has transformers a causal language model of it")
    if raw.get("quantization_config"):
        raise InputError("the weights are quantised and can't be trained; save them dequantised")


def _refuse_sizes(config: Any) -> None:
    """Raise InputError for counts that are mistyped: modules would be made of them without an end."""
    layers = _first(config, "num_hidden_layers") or 0
    huge = {k: v for k, v in config.to_dict().items() if isinstance(v, int) and v > MOST_COUNT}
    if layers > MOST_LAYERS or huge:
        key, value = next(iter(huge.items()), ("num_hidden_layers", layers))
        raise InputError(f"{key} is {value}, more than any model has")


def _first(config: Any, *names: str) -> int | None:
    """The first setting that is there."""
    found = (getattr(config, name, None) for name in names)
    return next((int(value) for value in found if isinstance(value, int)), None)


def _experts(config: Any) -> tuple[int, int]:
    """How many experts a layer has, and how many of them a token passes; 0 where it has none."""
    count = _first(config, "num_experts", "num_local_experts", "n_routed_experts") or 0
    return count, _first(config, "num_experts_per_tok", "moe_topk", "moe_k") or count


def _rope_limit(config: Any, most: int | None) -> int | None:
    """The most tokens where RoPE's frequencies depend on the length of a text; None where they do not."""
    told = getattr(config, "rope_parameters", None) or {}
    # one for the model, or one for each kind of layer
    kinds = [told] if "rope_type" in told else [each for each in told.values() if isinstance(each, dict)]
    limits = [
        (None if each["rope_type"] == "dynamic" else each.get("original_max_position_embeddings")) or most
        for each in kinds
        if each.get("rope_type") in BY_LENGTH
    ]
    return min((limit for limit in limits if limit), default=None)


def _size(network: ModuleShape) -> Size:
    config, shapes = network.skeleton.model.config, network.shapes()
    experts, active = _experts(config)
    matrices = sum(prod(shapes[name]) for name in network.skeleton.low)
    stacked = sum(prod(s) for name, s in shapes.items() if len(s) == 3)
    matrices += stacked * active // experts if experts else 0
    layers = _first(config, "num_hidden_layers") or 0
    heads = _first(config, "num_attention_heads") or 0
    size = _first(config, "head_dim") or (network.hidden // heads if heads else 0)
    cached = (_first(config, "num_key_value_heads") or heads) * size
    wide = max((max(shapes[name]) for name in network.skeleton.low), default=network.hidden)
    return Size(matrices, network.vocab * network.hidden, 0, layers, heads * size, cached, wide)
