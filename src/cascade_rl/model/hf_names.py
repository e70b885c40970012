"""What the fused decoder's parameters are called in Hugging Face's files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cascade_rl.errors import InputError

PLAIN = {  # our names of what is one tensor there too, and theirs
    "input_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "o": "self_attn.o_proj",
    "down": "mlp.down_proj",
}
JOINED = {"qkv": "self_attn.qkv_proj", "gate_up": "mlp.gate_up_proj"}  # in the same order of rows as ours
OUTSIDE = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}


def hf_parts(
    name: str, rows: int, qkv: Iterable[tuple[str, int]], wide: int, joined: bool
) -> list[tuple[str, int]]:
    """The Hugging Face tensors that one of our parameters of so many `rows` holds, with theirs, from the top.

    `qkv` are q, k, v with their rows, `wide` the rows of gate and of up; `joined`: they are one there, too.
    """
    # the order within q/k/v and gate/up is what `attention` and `swiglu` split by
    layer, dot, short = name.partition(".")
    base = f"model.layers.{layer}."
    if not dot:
        return [(OUTSIDE[name], rows)]
    if joined and short in JOINED:
        return [(f"{base}{JOINED[short]}.weight", rows)]
    if short == "o_bias":
        return [(f"{base}self_attn.o_proj.bias", rows)]
    if short in ("qkv", "qkv_bias"):
        kind = "weight" if short == "qkv" else "bias"
        return [(f"{base}self_attn.{p}_proj.{kind}", n) for p, n in qkv]
    if short == "gate_up":
        return [(f"{base}mlp.{p}_proj.weight", wide) for p in ("gate", "up")]
    return [(f"{base}{PLAIN[short]}.weight", rows)]


def adapted_names(names: Iterable[str], targets: Sequence[str]) -> list[str]:
    """Those of the weights `names` whose module is called as one of `targets`, the last part of its path.

    Raises InputError of a target that none is called.
    """
    by_module: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(".weight"):
            by_module.setdefault(name.split(".")[-2], []).append(name)
    if missing := [target for target in targets if target not in by_module]:
        raise InputError(
            f"the model has no projection {', '.join(missing)}; it has {', '.join(sorted(by_module))}: set "
            "lora.targets"
        )
    return [name for target in targets for name in by_module[target]]
