"""Small random models of families that the fused decoder does not know, made by transformers' own classes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tiny import tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from cascade_rl.model.modules import ModuleConfig

LLAMA_LIKE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
GPT_LIKE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "deepseek_v3": LLAMA_LIKE | {
        "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
        "moe_intermediate_size": 16, "q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4, "v_head_dim": 8, "first_k_dense_replace": 1,
    },
    "falcon": LLAMA_LIKE,
    "gemma2": LLAMA_LIKE | {"head_dim": 8, "sliding_window": 9, "query_pre_attn_scalar": 8},
    "gemma3_text": LLAMA_LIKE | {"head_dim": 8, "sliding_window": 9, "num_hidden_layers": 6},
    "gpt2": GPT_LIKE,
    "gpt_neox": LLAMA_LIKE,
    "lfm2": LLAMA_LIKE | {"layer_types": ["conv", "full_attention"]},
    "olmo2": LLAMA_LIKE,
    "phi": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE | {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    "qwen3_moe": LLAMA_LIKE | EXPERTS | {"head_dim": 8},
    "stablelm": LLAMA_LIKE,
}  # fmt: skip


def theirs(family: str, **special: Any) -> Any:
    """A model of transformers whose every parameter is random, so that none can be left out unnoticed."""
    return _theirs(family, json.dumps(special))


@cache
def _theirs(family: str, special: str) -> Any:
    tok = tokenizer()
    ids = {"bos_token_id": None, "eos_token_id": tok.end_id, "pad_token_id": None}
    settings = {
        **FAMILIES.get(family, LLAMA_LIKE),
        "vocab_size": len(tok.inner),
        **ids,
        **json.loads(special),
    }
    generator = torch.Generator().manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**settings)).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = any(part in name for part in ("norm", "ln_"))
            parameter.normal_(float(norm and name.endswith("weight")), 0.25, generator=generator)
    return model


def raw_of(model: Any) -> dict[str, Any]:
    """Its config.json."""
    raw: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    return raw | {"architectures": [type(model).__name__]}


def ours(family: str, **special: Any) -> tuple[Any, ModuleConfig, torch.Tensor]:
    """The model of transformers; the same as a network and its flat weights, by the modules whatever the family."""
    model = theirs(family, **special)
    config = ModuleConfig.from_hf(raw_of(model))
    state = dict(model.state_dict())
    return model, config, torch.cat([state[name].flatten() for name in config.shapes()])


def directory(folder: Path, family: str, **special: Any) -> Path:
    """A model directory as transformers writes it, with the tokenizer that the tests share."""
    theirs(family, **special).save_pretrained(folder)
    tokenizer().save(folder)
    return folder
