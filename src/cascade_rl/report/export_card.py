"""The card of an exported model, for whoever loads it without this package and without its run.

Its front matter is huggingface_hub's own `ModelCardData`, so that a hub reads results, licence and lineage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from cascade_rl import __version__
from cascade_rl.report.card import Card, gate_text, lineage_markdown, settings_markdown
from cascade_rl.report.card_tables import line, matrix_markdown, retention_markdown
from cascade_rl.report.card_use import HERE, drawn_as, model_section, sampling_section, use_section
from cascade_rl.report.licences import licence_keys, licence_note
from cascade_rl.run.ledger import Entry
from cascade_rl.scores.retention import retentions
from cascade_rl.types import Mode, Scorecard

SMOLLM2 = ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct")  # as it is known on the hub


@dataclass(frozen=True, slots=True)
class GgufTold:
    """The GGUF file of an export: its name, and what there is to know of its pre-tokenizer."""

    file: str
    line: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the card of an export says beside what the card of its checkpoint says.

    repo       its name on a hub; None where it is loaded from its directory
    licence    as a user named it; None takes that of the model which the run began with
    languages  codes such as `en`; empty where nobody said so
    sources    (name, what it was used for) of the data, in the recipe's words
    prompts    the same question, as the chat template writes it in each mode
    weights    lines on checksum, precision and size
    entries    the ledger's lines up to this stage
    positions  the most tokens of a text that the model is made for
    smoke      whether the run was one that only shows the path
    """

    card: Card
    entries: Sequence[Entry]
    prompts: Mapping[Mode, str]
    weights: Sequence[str]
    sources: Mapping[str, Sequence[str]]
    positions: int
    repo: str | None = None
    licence: str | None = None
    languages: Sequence[str] = ()
    datasets: Sequence[str] = field(default=())
    gguf: GgufTold | None = None
    smoke: bool = False


def export_card(told: Told) -> str:
    """The whole card as Markdown."""
    card, stage = told.card, told.card.stage
    origin, lineage = stage.get("origin") or {}, stage["lineage"]
    kept = retentions(card.scorecards, card.own_stages)
    place = told.repo or HERE
    parts = [
        _front_matter(told),
        f"# {lineage['run']} after {stage['stage']}",
        *_warnings(told),
        "A checkpoint of a cascade (SFT, reward model, then RL domain by domain; arXiv 2512.13607), exported "
        f"by cascade-rl {__version__}. Beside it lie `scorecard.json`, every score by problem, and "
        "`recipe.yaml`, with which the run can be made again.",
        "## Use\n\n" + use_section(card.benchmarks, lineage, card.config, place),
        "## Modes\n\n" + _modes(told.prompts),
        "## Serving\n\n" + _serving(told, place),
        "## Model\n\n" + "\n".join([model_section(card.config, origin), *(f"- {w}" for w in told.weights)]),
        "## Results by stage\n\n" + matrix_markdown(card.scorecards, card.own_stages),
        *(f"{judged.line(name)}." for name, judged in card.judged.items()),
        *(["## Sampling of the benchmarks\n\n" + sampling_section(card.benchmarks)] * bool(card.benchmarks)),
        *(["## Retention\n\n" + retention_markdown(kept)] if kept else []),
        "## Gate\n\n" + gate_text(card.gate),
        "## Data\n\n" + _data(told),
        "## Licence\n\n" + licence_note(told.licence, origin.get("licence") or {}, _known_as(origin)),
        "## Lineage\n\n" + _stages(told.entries) + "\n\n" + lineage_markdown(lineage),
        settings_markdown(stage["settings"]),
    ]
    return "\n\n".join(parts) + "\n"


def _known_as(origin: Mapping[str, Any]) -> str | None:
    """The name of the model that a run began with; None of one from scratch."""
    name = origin.get("name")
    return SMOLLM2[1] if name == SMOLLM2[0] else name


def _front_matter(told: Told) -> str:
    origin = told.card.stage.get("origin") or {}
    lineage = told.card.stage["lineage"]
    licence = licence_keys(told.licence) if told.licence else dict(origin.get("licence") or {})
    name = f"{lineage['run']}-{told.card.stage['stage']}"
    results = _results(told.card.scorecards[-1]) if told.card.scorecards else []
    data = ModelCardData(
        language=list(told.languages) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["cascade-rl", "conversational", *(["gguf"] if told.gguf else [])],
        # a path on this machine is nobody's base model
        base_model=_known_as(origin) if origin.get("commit") or origin.get("name") == SMOLLM2[0] else None,
        datasets=list(told.datasets) or None,
        # a model-index needs both; without results there is none
        model_name=name if results else None,
        eval_results=results or None,
        **licence,
    )
    return f"---\n{data.to_yaml()}\n---"


def _results(card: Scorecard) -> list[EvalResult]:
    """Every benchmark in every mode, in per cent, with its interval."""
    found = []
    for name, score in card.benchmarks.items():
        # the headline first: a reader takes the first of a data set
        for mode in sorted(score.modes, key=lambda mode: mode is not score.headline):
            average = score.modes[mode].average
            low, high = (round(100 * bound, 1) for bound in (average.low, average.high))
            found.append(
                EvalResult(
                    task_type="text-generation",
                    task_name="Text Generation",
                    dataset_type=name,
                    dataset_name=f"{name} (held-out problems of the run)",
                    metric_type="accuracy",
                    metric_name=f"avg@{average.k} in {mode} mode, 95 % interval {low} to {high}",
                    metric_value=round(100 * average.mean, 1),
                    metric_config=str(mode),
                    metric_args={"problems": average.n, "samples": average.k},
                )
            )
    return found


def _warnings(told: Told) -> list[str]:
    """What must not be overlooked: a gate that did not pass, and a run of two steps a stage."""
    gate, found = told.card.gate, []
    if gate.measured and not gate.passed:
        found.append(
            f"> **The gate did not pass after this stage**: {'; '.join(gate.notes)}. See Gate below."
        )
    if told.smoke:
        found.append("> **A smoke run**: two steps a stage, to show the path. These weights are of no use.")
    return found


def _modes(prompts: Mapping[Mode, str]) -> str:
    """The same question as the template writes it in each mode."""
    shown = [f"In {mode} mode the model reads\n\n```text\n{text}\n```" for mode, text in prompts.items()]
    if len(prompts) == 1:
        shown.append("Its template has no other mode.")
    return "\n\n".join(shown)


def _serving(told: Told, place: str) -> str:
    drawn = drawn_as(told.card.benchmarks, told.card.config)
    asked = f"temperature {drawn.temperature}, top-p {drawn.top_p}, no top-k"
    lines = [
        f"generation_config.json holds {drawn.by} ({asked}, replies of up to {drawn.tokens} tokens), which "
        "transformers and vLLM take for a request that says nothing else.",
        f"```bash\nvllm serve {place} --max-model-len {told.positions}\n```",
    ]
    if told.gguf:
        min_p = f" --min-p {drawn.min_p}"
        lines += [
            f"llama.cpp reads `{told.gguf.file}` ({told.gguf.line}); its own defaults are others, so they "
            "are set:",
            f"```bash\nllama-server -m {told.gguf.file} --jinja --temp {drawn.temperature} --top-p "
            f"{drawn.top_p} --top-k 0{min_p}\n```",
        ]
    return "\n\n".join(lines)


def _data(told: Told) -> str:
    """What each stage was trained on, and the sources by name and revision."""
    rows = [line(["source", "used by"]), line(["---", "---"])]
    rows += [line([f"`{name}`", ", ".join(users)]) for name, users in told.sources.items()]
    trained = "\n".join(f"- {text}" for text in told.card.stage["data"])
    note = (
        "`builtin` and other sources without a scheme are made by this package (docs/data.md there), the "
        "others are tables with terms of their own, which the licence of these weights does not change."
    )
    return f"This stage: \n\n{trained}\n\nAll stages up to here, and the benchmarks:\n\n" + "\n".join(
        [*rows, "", note]
    )


def _stages(entries: Sequence[Entry]) -> str:
    """The stages up to this one, each with the one that it began with."""
    head = ["stage", "began with", "steps", "weights", "data", "recipe"]
    rows = [line(head), line(["---"] * len(head))]
    for entry in entries:
        made = entry.checkpoint
        rows.append(
            line(
                [
                    made.stage,
                    made.parent or "base",
                    str(made.step),
                    f"`{made.weights_hash}`",
                    f"`{entry.data}`",
                    f"`{made.recipe_hash}`" if made.recipe_hash else "",
                ]
            )
        )
    return "\n".join(rows)
