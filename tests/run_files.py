"""What a finished run holds that must not depend on how it came to its end."""

from __future__ import annotations

from pathlib import Path


def results(run: Path) -> dict[str, bytes]:
    """Everything that must not depend on interruptions, by its path in the run."""
    kept = (
        "journal.jsonl",
        "samples.jsonl",
        "rollouts.jsonl",
        "scorecard.json",
        "gate.json",
        "model.safetensors",
        "preflight.json",
    )
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.name in kept and "state" not in path.parts and ".old-" not in str(path)
    }
