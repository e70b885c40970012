"""The parts of a model card for whoever takes it: what it is, where it began, how to load and ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.types import Mode

# of the report's evaluation (arXiv 2512.13607, appendix B), where no benchmark says otherwise
TEMPERATURE, TOP_P, TOKENS = 0.6, 0.95, 4096
HERE = "."  # the directory of a card
FLAGS = {Mode.THINKING: " /think", Mode.INSTRUCT: " /no_think"}


def front_matter(origin: Mapping[str, Any]) -> str:
    """What transformers and a hub read of a card; base model and licence where they are known."""
    told: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    told |= {"tags": ["cascade-rl"], **(origin.get("licence") or {})}
    # a path on this machine is nobody's base model
    if origin.get("commit"):
        told["base_model"] = origin["name"]
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---"


def model_section(config: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """Family, precision and lengths by config.json, and the model that the first stage began with."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", "default")
    positions = config.get("max_position_embeddings")
    scaled = f", RoPE {kind} with factor {rope.get('factor')}" if kind != "default" else ""
    family, dtype = config.get("model_type"), config.get("dtype")
    lines = [f"- family `{family}`, weights in {dtype}, made for {positions} positions{scaled}"]
    if not origin:
        return "\n".join([*lines, "- trained from scratch"])
    commit = f" at commit `{origin['commit']}`" if origin.get("commit") else ""
    licence = ", ".join(str(value) for value in (origin.get("licence") or {}).values())
    lines.append(f"- began with `{origin['name']}`{commit}; checksum of its weights: `{origin['weights']}`")
    lines.append(f"- licence of that model: {licence or 'its README names none'}")
    return "\n".join(lines)


class Drawn(NamedTuple):
    """How replies are drawn by whoever is told nothing else; `tokens` is the longest reply."""

    temperature: float
    top_p: float
    min_p: float
    tokens: int
    by: str


def drawn_as(benchmarks: Sequence[BenchmarkSpec], config: Mapping[str, Any]) -> Drawn:
    """As the first benchmark was, with replies as long as the longest of any; without one as the report's."""
    if benchmarks:
        first, tokens = benchmarks[0], max(spec.max_response_tokens for spec in benchmarks)
        by = "the sampling of the benchmarks"
        return Drawn(first.temperature, first.top_p, first.min_p, tokens, by)
    # half of the positions, so that a prompt has room before it
    tokens = min(TOKENS, config.get("max_position_embeddings", 2 * TOKENS) // 2)
    return Drawn(TEMPERATURE, TOP_P, 0.0, tokens, "the sampling of the report's evaluation")


def use_section(
    benchmarks: Sequence[BenchmarkSpec],
    lineage: Mapping[str, Any],
    config: Mapping[str, Any],
    place: str = HERE,
) -> str:
    """How to load and ask it with transformers and with vLLM; sampling as the benchmarks had it.

    `place` is what the checkpoint is loaded by: its directory, or its name on a hub.
    """
    own = str(lineage.get("template", "")).startswith("model:")
    drawn = drawn_as(benchmarks, config)
    settings = f"temperature={drawn.temperature}, top_p={drawn.top_p}"
    flag = "" if own else FLAGS[Mode.THINKING]
    here = "  # this directory" if place == HERE else ""
    return f"""{_how_to_ask(own, lineage)}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

checkpoint = "{place}"{here}
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
messages = [{{"role": "user", "content": "What is 3 + 4?{flag}"}}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
ids = model.generate(**inputs, do_sample=True, {settings}, top_k=0, max_new_tokens={drawn.tokens})
print(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

vLLM serves it by `vllm serve {place}`, behind the same chat template; {drawn.by} is
`{settings}`. Replies end at every id in `eos_token_id` of generation_config.json, which both read."""


def _how_to_ask(own: bool, lineage: Mapping[str, Any]) -> str:
    if own:
        # how that template says a mode was found out when the run began
        said = f": {lineage['base']}" if lineage.get("base") else "; see Lineage"
        return f"It was trained with the chat template that its base model has, unchanged{said}."
    return (
        f"Its chat template is ChatML. End a user turn with `{FLAGS[Mode.THINKING]}` for visible reasoning "
        f"between `<think>` and `</think>`, with `{FLAGS[Mode.INSTRUCT]}` for a direct answer."
    )


def sampling_section(benchmarks: Sequence[BenchmarkSpec]) -> str:
    """How the replies of each benchmark were drawn."""
    lines = ["| benchmark | problems | samples | temperature | top-p | prompt, reply tokens |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for spec in benchmarks:
        other = spec.k if spec.k_other_mode is None else spec.k_other_mode
        samples = f"{spec.k} and {other} in the other mode" if spec.both_modes else str(spec.k)
        lines.append(
            f"| {spec.name} | {spec.problems} | {samples} | {spec.temperature} | {spec.top_p} | "
            f"{spec.max_prompt_tokens}, {spec.max_response_tokens} |"
        )
    return "\n".join(lines)
