"""Files that start a run on a cluster: a batch script for Slurm, a RayJob for KubeRay.

Both bring up Ray on the machines that the recipe's block `verl` names, and then run words such as `cascade
run`. What they contain is in `templates/`, with the places to fill in written @LIKE_THIS@.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.backends.verl.job import Command
from cascade_rl.errors import InputError
from cascade_rl.recipe import Verl
from cascade_rl.run.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
PLACE = re.compile(r"@([A-Z_]+)@")


@dataclass(frozen=True, slots=True)
class Start:
    """What is started on which machines: `words` such as `cascade run`, once Ray is up on all of them.

    name    of the run, for the queue
    folder  where the file, and Slurm's log, are written
    judged  whether a stage asks a reward model, which has a machine beside the job's
    """

    name: str
    folder: Path
    verl: Verl
    words: tuple[str, ...]
    judged: bool = False

    @property
    def nodes(self) -> int:
        """All machines; raises InputError where none of them holds the reward model."""
        verl = self.verl
        if self.judged and verl.reward_gpus > verl.gpus_per_node:
            room = f"a machine has {verl.gpus_per_node} (gpus_per_node)"
            raise InputError(f"verl.reward_gpus: {verl.reward_gpus}, but {room}")
        return verl.nodes + self.judged


@dataclass(frozen=True, slots=True)
class Slurm:
    """What a batch job asks for beside the recipe's machines; `more` are further #SBATCH options."""

    hours: int = 24
    partition: str | None = None
    account: str | None = None
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KubeRay:
    """Where a RayJob runs.

    image  has verl's environment and this package's
    claim  the persistent volume claim, writable by all pods, that holds runs, models and data
    mount  where it is mounted: the paths of the job begin with it
    """

    image: str
    claim: str
    mount: Path
    hours: int = 24


def write_slurm(start: Start, command: Command, asked: Slurm | None = None) -> Path:
    """`NAME.sbatch` in the folder: Ray on its machines, then the words with RAY_ADDRESS set."""
    verl, asked = start.verl, asked or Slurm()
    more = {"partition": asked.partition, "account": asked.account}
    options = [f"--{name}={value}" for name, value in more.items() if value] + list(asked.more)
    for option in options:
        if not re.fullmatch(r"--[a-z][\w-]*(=\S+)?", option):
            raise InputError(f"{option!r} is no option of sbatch; write --name=value")
    return _write(
        start.folder / f"{start.name}.sbatch",
        "slurm.sbatch",
        {
            "NAME": _name(start),
            "NODES": str(start.nodes),
            "GPUS": str(verl.gpus_per_node),
            "ALL_GPUS": str(start.nodes * verl.gpus_per_node),
            "HOURS": str(asked.hours),
            # of Slurm's own grammar: it knows no quotes, and % is its own
            "LOG": str(start.folder.resolve() / "slurm-%j.log").replace(" ", "\\ "),
            "MORE": "\n".join(f"#SBATCH {option}" for option in options),
            "PYTHON": shlex.join(command.python),
            "WORDS": shlex.join(start.words),
        },
    )


def write_rayjob(start: Start, asked: KubeRay) -> Path:
    """`NAME.rayjob.yaml` in the folder: a cluster of the recipe's machines, and the words on its head."""
    verl, folder = start.verl, start.folder.resolve()
    if not folder.is_relative_to(asked.mount):
        raise InputError(
            f"{folder} is not below {asked.mount}, where the pods mount {asked.claim}: they can't see it"
        )
    texts = {
        "NAME": _name(start),
        "WORDS": shlex.join(start.words),
        "IMAGE": asked.image,
        "CLAIM": asked.claim,
        "MOUNT": str(asked.mount),
    }
    # a text of JSON is one of YAML, whatever is in it
    values = {name: json.dumps(text) for name, text in texts.items()}
    # the head is one of the machines: what verl does not do, such as scores, is done there on its GPUs
    numbers = {"WORKERS": start.nodes - 1, "GPUS": verl.gpus_per_node, "SECONDS": asked.hours * 3600}
    values |= {name: str(number) for name, number in numbers.items()}
    return _write(start.folder / f"{start.name}.rayjob.yaml", "rayjob.yaml", values)


def _name(start: Start) -> str:
    """A name that Kubernetes takes, too."""
    text = re.sub(r"[^a-z0-9]+", "-", start.name.lower()).strip("-")
    return f"cascade-{text}"[:47].rstrip("-")  # KubeRay adds to it, and 63 is the most


def _write(path: Path, template: str, values: Mapping[str, str]) -> Path:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    # a line that stands alone for something that is not given goes with it
    text = re.sub(
        r"^@MORE@\n", lambda m: f"{values['MORE']}\n" if values.get("MORE") else "", text, flags=re.MULTILINE
    )
    write_text(path, PLACE.sub(lambda m: values[m[1]], text))
    return path
