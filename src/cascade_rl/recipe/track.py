"""Who else is told how a run goes: trackers, which draw what the journal has."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from cascade_rl.recipe.base import Strict


class Track(Strict):
    """One tracker; `project` is where its runs are filed, the recipe's name if None. See docs/tracking.md."""

    to: Literal["trackio", "wandb", "tensorboard"]
    project: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        """A tracker that is only named: `track: [trackio]`."""
        return {"to": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _project(self) -> Track:
        if self.to == "tensorboard" and self.project is not None:
            raise ValueError("tensorboard has no projects; remove project")
        if self.project is not None and not self.project.strip():
            raise ValueError("project is empty; give it a name, or remove it")
        return self
