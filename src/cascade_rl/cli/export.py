"""The command that makes a stage's model for others: export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.app import RunArgument, console, say
from cascade_rl.errors import InputError


class Precision(StrEnum):
    """Of the weights that are written."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


def export(
    run_dir: RunArgument,
    stage: Annotated[str, typer.Argument(help="A stage that is done: rlhf, 04-rlhf, 4, or last.")],
    out: Annotated[
        Path, typer.Argument(help="The directory that is made; it must not be there, or be empty.")
    ],
    dtype: Annotated[
        Precision | None, typer.Option(help="Precision of the weights; that of the checkpoint if not given.")
    ] = None,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="Write a GGUF file for llama.cpp, too (extra `gguf`).")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            help="The licence that the card names, such as apache-2.0; that of the model which the run began "
            "with if not given."
        ),
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="A language of the card, such as en; may be repeated."),
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Upload it to a hub, as a private model.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: a model that all can see.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --push: tell what would be uploaded, and upload nothing.")
    ] = False,
) -> None:
    """Make a stage's model for others: safetensors, tokenizer with its template, a card, scores, recipe."""
    from cascade_rl.cascade.export import export_stage
    from cascade_rl.cascade.export_wanted import Wanted
    from cascade_rl.model.hub_push import check_push, listed, push_folder

    if push is None and (public or dry_run):
        raise InputError("--public and --dry-run have no effect without --push")
    if push is not None:
        check_push(push)
    wanted = Wanted(dtype.value if dtype else None, gguf, licence, language or (), push)
    made = export_stage(run_dir, stage, out, wanted)
    say(f"{made.stage.name} of {run_dir} is exported: {out}")
    for line in made.lines:
        say(f"  {line}")
    if push is None:
        return
    say(f"{'would be uploaded' if dry_run else 'uploading'} to {push}, {'public' if public else 'private'}:")
    for text in listed(out):
        say(f"  {text}")
    if not dry_run:
        with console.status("uploading"):
            address = push_folder(
                out, push, private=not public, message=f"{made.stage.name} of {run_dir.name}"
            )
        say(f"uploaded: {address}")
