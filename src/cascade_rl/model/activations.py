"""How many bytes a micro-batch keeps for its gradient, and whether there is room for them.

Where there is none, layers keep only what they begin with and run again in the backward pass (arXiv
1604.06174): the same numbers, bit for bit, for about a third more time. What is counted is what `fused` and
`attention_bytes` say is saved; tests/test_activations.py compares it with what autograd holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cascade_rl.model import kernels
from cascade_rl.model.attention_bytes import attention_bytes, compiled
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.head import head_sizes
from cascade_rl.model.network import Network
from cascade_rl.model.packed import Pack
from cascade_rl.protocols import SamplingRule

SHARE = 0.8  # of the free memory: a process grows by about a fifth more than it allocates (docs/LOG.md)

# Bytes a logit while it is at work: itself and its probability; of a truncated one copies and masks, too, and
# where a row has to be sorted as a whole its order, places and sums.
AT_WORK, AT_WORK_TRUNCATED = 8, 40


def activation_bytes(
    config: DecoderConfig, packed: Pack, element: int, rule: SamplingRule | None, recompute: bool = False
) -> int:
    """The most that a micro-batch needs at once beyond the model, products taking `element` bytes a number.

    The peak lies where the backward pass begins: all that is kept, and the head or one layer at work. `rule`
    is what the head's distribution follows, None without a head.
    """
    kept = kept_bytes(config, packed, element, recompute) + attention_bytes(config, packed, element).tables()
    head, layer = _head_bytes(config, packed, element, rule), _backward_bytes(config, packed, element)
    if not recompute:
        return kept + max(head, layer)
    # what a layer keeps comes when the head's gradient is over; by operators it needs more than is counted
    again = layer_bytes(config, packed, element)
    return kept + (max(head, layer + again) if compiled(packed, element) else max(head, layer) + again)


def kept_bytes(config: DecoderConfig, packed: Pack, element: int, recompute: bool = False) -> int:
    """What the layers and the last norm hold between the passes."""
    tokens = len(packed.ids)
    # cosines and sines, fp32; ids, which the embedding keeps, and positions beside them in the same memory
    angles = 8 * config.head_dim * tokens + 16 * tokens
    last_norm = 4 * (config.hidden + 1) * (tokens - packed.prefixes)  # its input and scale, of branches only
    if recompute:  # of each layer the residual that it begins with, fp32
        return angles + last_norm + config.layers * 4 * config.hidden * tokens
    layers = (layer_bytes(config, packed, element, i + 1 == config.layers) for i in range(config.layers))
    return angles + last_norm + sum(layers)


def layer_bytes(config: DecoderConfig, packed: Pack, element: int, last: bool = False) -> int:
    """What one layer keeps; after the `last` one's attention that is the branches' only."""
    tokens = len(packed.ids)
    after = tokens - packed.prefixes if last else tokens
    heads, size = config.heads + config.kv_heads, config.head_dim
    # A norm keeps its fp32 input, its scale and what the product reads. Before attention come the normed q
    # and k with their scales; behind it gate and up, silu(gate), and what `down` reads. The library of
    # `kernels` keeps q, k and v as they came, and makes silu(gate) again.
    ours, normed = compiled(packed, element), heads * (4 * size + 4)
    if ours and size in kernels.HEAD_SIZES:
        normed = element * (heads + config.kv_heads) * size
    before = config.hidden * (4 + element) + 4 + normed * config.qk_norm
    behind = config.hidden * (4 + element) + 4 + element * (3 if ours else 4) * config.intermediate
    return tokens * before + after * behind + attention_bytes(config, packed, element).kept(last)


def _head_bytes(config: DecoderConfig, packed: Pack, element: int, rule: SamplingRule | None) -> int:
    """What the head needs: probabilities, logits at work, the gradient of its weight, and hidden states.

    Probabilities are kept in the products' dtype (see `head.target_logprobs`), and the fp32 weight is laid
    out anew.
    """
    scored, short, on_gpu = (
        len(packed.ids) - packed.prefixes,
        element if element < 4 else 0,
        packed.ids.is_cuda,
    )
    numbers = config.vocab * config.hidden
    weight = numbers * (element + (4 if short else 0))
    # the CPU's copy in fp32, or a GPU's three halves beside short products (see `products.laid_out`)
    layout = numbers * ((6 if short else 0) if on_gpu else 4)
    if rule is None:
        return weight + 8 * config.hidden * scored + (layout if on_gpu else 0)
    truncated = rule.truncates(config.vocab)
    at_once, most = head_sizes(on_gpu, truncated)
    kept = min(scored * config.vocab * element, most)
    at_work = (AT_WORK_TRUNCATED if truncated else AT_WORK) * min(scored * config.vocab, at_once)
    return layout + kept + max(at_work, weight + (8 + 2 * element) * config.hidden * scored)


def _backward_bytes(config: DecoderConfig, packed: Pack, element: int) -> int:
    """What a layer's backward pass needs beside what is kept: the MLP's and attention's largest moments."""
    tokens, wide = len(packed.ids), config.intermediate
    mlp = tokens * max(4 * element * wide + 4 * config.hidden, 2 * element * wide + 24 * config.hidden)
    attention = attention_bytes(config, packed, element).at_work()
    return max(mlp + 2 * element * wide * config.hidden, attention)


@dataclass
class Room:
    """The memory that a worker has for a micro-batch, in bytes; remembers the largest that did not fit.

    `short` is empty while all fit; its keys go through `gradients.merge`.
    """

    free: float = math.inf
    short: dict[str, float] = field(default_factory=dict)

    def too_small(self, config: Network, packed: Pack, element: int, rule: SamplingRule | None) -> bool:
        """Whether layers must run again in the backward pass; never where nobody knows what they keep."""
        if not isinstance(config, DecoderConfig):
            return False
        # counted and not tried: a process that the kernel kills for memory can't take another way
        need = activation_bytes(config, packed, element, rule)
        if need <= SHARE * self.free:
            return False
        if need > self.short.get("short_bytes_max", 0):
            again = activation_bytes(config, packed, element, rule, recompute=True)
            self.short = {
                "short_bytes_max": need,
                "short_tokens_max": len(packed.ids),
                "short_again_max": again,
                "short_free_max": SHARE * self.free,
            }
        return True


def take_note(sums: dict[str, float]) -> str | None:
    """Take what `Room` found out of the sums of all workers, and say it in words; None if all fitted."""
    # popped: what is left of the sums goes to the journal, which depends on no machine
    found = {key: sums.pop(key) for key in [key for key in sums if key.startswith("short_")]}
    if not found:
        return None
    gigabytes = {key: f"{value / 1e9:.1f} GB" for key, value in found.items()}
    text = (
        f"activations of {found['short_tokens_max']:,.0f} tokens take {gigabytes['short_bytes_max']}, "
        f"{gigabytes['short_free_max']} are free for them: layers are computed again in the backward pass "
        "(about 1/3 more time)"
    )
    if found["short_again_max"] > found["short_free_max"]:
        text += f"; that still takes {gigabytes['short_again_max']}: lower tokens_per_microbatch"
    return text
