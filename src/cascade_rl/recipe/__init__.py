"""The recipe: every knob of a run as one validated value.

A recipe is YAML. It names the model, the seed, the ordered stages and the benchmarks; stages inherit
`defaults.KIND`. Loading reports every problem at once with its path, and refuses keys that would have no
effect. Sizes are in tokens, learning rates per step.

Defaults follow arXiv 2512.13607 where it says something: tables 14 (SFT), 15 (RLHF), 16 (IF-RL), 17 and 18
(math), 19 (code) and 20 (SWE); where its body disagrees, the table holds. Here stands what other rooms use;
`reading` reads recipes, `explain` tells them.
"""

from __future__ import annotations

from cascade_rl.recipe.base import Problems, digest
from cascade_rl.recipe.heldout import HeldoutRows
from cascade_rl.recipe.kinds import STAGE_KINDS, Stage
from cascade_rl.recipe.lora import LoRA
from cascade_rl.recipe.model import Architecture
from cascade_rl.recipe.prompts import FullPhase, JudgeSpec, Phase, RLData, replaced_keys
from cascade_rl.recipe.recipe import Recipe
from cascade_rl.recipe.reward_model import RewardModelStage
from cascade_rl.recipe.rl import RLStage
from cascade_rl.recipe.scoring import BenchmarkSpec, Dip, Gate, PreflightSpec, Waiver
from cascade_rl.recipe.sft import ChatData, OwnReplies, SFTData, SFTStage
from cascade_rl.recipe.stage import Able, Entry, OwnRows, StageSpec
from cascade_rl.recipe.track import Track
from cascade_rl.recipe.training import Training
from cascade_rl.recipe.verl import Verl

__all__ = [
    "STAGE_KINDS",
    "Able",
    "Architecture",
    "BenchmarkSpec",
    "ChatData",
    "Dip",
    "Entry",
    "FullPhase",
    "Gate",
    "HeldoutRows",
    "JudgeSpec",
    "LoRA",
    "OwnReplies",
    "OwnRows",
    "Phase",
    "PreflightSpec",
    "Problems",
    "RLData",
    "RLStage",
    "Recipe",
    "RewardModelStage",
    "SFTData",
    "SFTStage",
    "Stage",
    "StageSpec",
    "Track",
    "Training",
    "Verl",
    "Waiver",
    "digest",
    "replaced_keys",
]
