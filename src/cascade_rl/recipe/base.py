"""What every block of a recipe is made of, and the digest by which settings are compared."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

# Names become folders, keys of files and parts of override paths: no dot, no slash, no blank.
NAME = r"^[a-z0-9][a-z0-9-]*$"
# A run's name is a folder alone, so that it may say a version: qwen3-0.6b. Two dots never follow each other.
RUN_NAME = r"^[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*$"
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

# (path, what is wrong and how to mend it)
Problems = list[tuple[str, str]]


class Strict(BaseModel):
    """A block of the recipe: unknown keys are errors, values can't be changed later."""

    # frozen: a key of a finished stage is made from these values, so nothing may change them afterwards
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def tag_of(block: type[BaseModel]) -> str:
    """The value of `kind` that chooses this block among its alternatives."""
    return str(get_args(block.model_fields["kind"].annotation)[0])


def digest(value: object) -> str:
    """16 hex digits of the SHA-256 of a JSON value."""
    # sort_keys: the order in which a YAML file says things is no difference
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
