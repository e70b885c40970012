"""What every block of a recipe is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9-]*$"
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A block of the recipe: unknown keys are errors, values can't be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
