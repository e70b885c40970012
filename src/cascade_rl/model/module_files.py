"""The weights of transformers' own modules to and from tensors as its files name them.

Some families are stored otherwise than they compute: experts one by one in files and stacked in memory.
`from_pretrained` and `save_pretrained` convert, so what they call is called here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cascade_rl.errors import InputError
from cascade_rl.model.skeleton import FAULTS, without_weights
from cascade_rl.model.weight_files import check_state

MASKS = (".attn.masked_bias",)  # what old files of GPT-2 add where nothing may be seen


def load_state(config: Any, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Parameters and buffers by the modules' own names, fp32, of a file's tensors.

    Raises InputError that names `where` and what is missing, too much, of another shape, quantised or not
    finite.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    state = {name: tensor for name, tensor in state.items() if not name.endswith(MASKS)}
    # other masks of old files are no weights either, of any kind, and transformers leaves them out
    weights = {n: t for n, t in state.items() if t.is_floating_point() or n.endswith(".weight")}
    check_state(where, weights, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with quiet(), refusing(where):
        model, info = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, in one line
        )
    for what, keys in (
        ("lack", info["missing_keys"]),
        ("have, where the model has no place for them,", info["unexpected_keys"]),
        ("have in another shape", info["mismatched_keys"]),
    ):
        if keys:
            # of another shape: with both shapes behind the name
            first = min(key if isinstance(key, str) else key[0] for key in keys)
            raise InputError(f"{where}: the weights {what} {len(keys)} tensors, the first is {first}")
    return dict(model.state_dict())


@contextmanager
def quiet() -> Iterator[None]:
    """transformers says nothing inside, and draws no progress: the screen is not its own."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it gives no types
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """What transformers raises inside becomes an InputError that names `where`."""
    try:
        yield
    except FAULTS as error:
        text = str(error).strip().partition("\n")[0]
        raise InputError(f"{where}: transformers can't take these weights: {text}") from None


def file_tensors(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `save_pretrained` would write of these parameters and buffers."""
    from transformers.core_model_loading import revert_weight_conversion

    return dict(revert_weight_conversion(model, dict(tensors)))


def classifier_of(config: Any) -> str:
    """The name of transformers' class with a scalar head; raises InputError where the family has none."""
    from transformers import AutoModelForSequenceClassification
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InputError(
            f"transformers has no sequence classification for {config.model_type}, so that a reward model of "
            "this family could not be exported; leave the reward model out, or take another family"
        )
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    labelled = copy.deepcopy(config)
    labelled.num_labels = 1
    head = getattr(without_weights(AutoModelForSequenceClassification, labelled), "score", None)
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise InputError(
            f"{kind.__name__} of transformers has no plain `score` head, which a reward model of ours is; "
            "leave the reward model out, or take another family"
        )
    return str(kind.__name__)
