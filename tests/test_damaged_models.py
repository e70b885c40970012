"""Model directories damaged in hundreds of ways: each is read as before, or refused in one message that names it."""

from __future__ import annotations

import copy
import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from module_models import theirs
from safetensors.torch import load_file, save_file
from small_run import RECIPE
from tiny import tokenizer

from cascade_rl.cascade.foresight import foresee
from cascade_rl.data.abilities import check_recipe
from cascade_rl.doctor.model_checks import check_scored_one_token_off
from cascade_rl.doctor.subject import Subject, make_tiny
from cascade_rl.errors import Mendable
from cascade_rl.model.base import make_base
from cascade_rl.protocols import Sampling

VALUES = (None, "x", -1, 0, 10**12, 1e30, 0.5, [], ["x"], {}, True)
FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all values inside a JSON value."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:3]))
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed_json(path: Path, place: tuple[str | int, ...], value: object, *, remove: bool) -> None:
    """A JSON file with one value replaced or removed."""
    whole = json.loads(path.read_text())
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if remove:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path.write_text(json.dumps(whole))


def json_mutants(folder: Path, file: str, count: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """(what, how) for `count` values of a file replaced or removed, the same ones each time."""
    rng = random.Random(file)
    found = list(places(json.loads((folder / file).read_text())))
    # tokenizer.json is a vocabulary, mostly
    whole = [(place, value) for place in found for value in (*VALUES, "removed")]
    for place, value in rng.sample(whole, min(count, len(whole))):
        remove = value == "removed"

        def change(target: Path, place: Any = place, value: object = value, remove: bool = remove) -> None:
            changed_json(target / file, place, value, remove=remove)

        yield f"{file} {'.'.join(map(str, place))} = {value!r}", change


def cut(file: str, share: float) -> Callable[[Path], None]:
    def change(target: Path) -> None:
        body = (target / file).read_bytes()
        (target / file).write_bytes(body[: int(len(body) * share)])

    return change


def flipped(file: str, seed: int) -> Callable[[Path], None]:
    def change(target: Path) -> None:
        body = bytearray((target / file).read_bytes())
        body[random.Random(seed).randrange(min(len(body), 2000))] ^= 0x55
        (target / file).write_bytes(bytes(body))

    return change


def weights(change: Callable[[dict[str, torch.Tensor], str], None], name: str) -> Callable[[Path], None]:
    def write(target: Path) -> None:
        state = load_file(target / "model.safetensors")
        change(state, name)
        save_file(state, target / "model.safetensors")

    return write


def _nan(state: dict[str, torch.Tensor], name: str) -> None:
    state[name].view(-1)[3] = float("nan")


def _infinite(state: dict[str, torch.Tensor], name: str) -> None:
    state[name].view(-1)[-1] = float("-inf")


def _integers(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = (state[name] * 10).to(torch.int8)


def _eight_bits(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = state[name].to(torch.float8_e4m3fn)


def _wider(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = torch.cat([state[name], state[name][:1]])


def _flat(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = state[name].reshape(-1)[:-1].clone()


def _gone(state: dict[str, torch.Tensor], name: str) -> None:
    del state[name]


def _double(state: dict[str, torch.Tensor], name: str) -> None:
    state[name] = state[name].double()


CHANGES = (_nan, _infinite, _integers, _eight_bits, _wider, _flat, _gone, _double)


def whole_mutants(folder: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Files gone, empty, cut off or with a byte flipped; tensors damaged one by one."""
    for file in (*FILES, "model.safetensors"):
        yield f"{file} gone", lambda target, file=file: (target / file).unlink()
        yield f"{file} binary", lambda target, file=file: (target / file).write_bytes(b"\xff\xfe\x00")
        yield f"{file} a list", lambda target, file=file: (target / file).write_text("[]")
        for share in (0.0, 0.01, 0.3, 0.7, 0.99):
            yield f"{file} cut at {share}", cut(file, share)
        for seed in range(6):
            yield f"{file} flipped {seed}", flipped(file, seed)
    for name in ("model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight", "model.norm.weight"):
        yield from ((f"{name} {change.__name__}", weights(change, name)) for change in CHANGES)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("whole") / "model")


def spoken(model: Path, work: Path) -> set[str]:
    """What the steps say that `check`, `run`, and `chat`, `eval` and `doctor` take; any other error passes on.

    Each is tried: one that succeeds where another refuses is no fault, a traceback is.
    """
    recipe = check_recipe(copy.deepcopy(RECIPE) | {"model": {"init": str(model)}})
    steps = (
        lambda: foresee(recipe),
        lambda: make_base(recipe, [], work / "base", work / "tokens"),
        lambda: talked(model),
    )
    said = set()
    for step in steps:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step()
        except Mendable as error:
            said.add(str(error))
    return said


def talked(model: Path) -> None:
    """Two tokens of the model, and its probabilities held against transformers' own."""
    with Subject.opened(model) as subject:
        subject.world.sampler.sample(subject.problems, Sampling(1, 2))
        check_scored_one_token_off(subject)


@pytest.mark.parametrize("part", ["whole", *FILES])
def test_a_damaged_directory_is_refused_in_one_message_or_read(part, model, tmp_path):
    mutants = whole_mutants(model) if part == "whole" else json_mutants(model, part, 40)
    refused_or_read(model, mutants, tmp_path)


def test_so_is_one_of_a_family_that_transformers_computes(tmp_path):
    model = tmp_path / "gemma"
    theirs("gemma2").save_pretrained(model)
    tokenizer().save(model)
    files = [
        m
        for m in whole_mutants(model)
        if m[0] in ("tokenizer_config.json gone", "model.safetensors cut at 0.7")
    ]
    refused_or_read(model, [*json_mutants(model, "config.json", 25), *files], tmp_path)


def refused_or_read(
    model: Path, mutants: Iterable[tuple[str, Callable[[Path], None]]], tmp_path: Path
) -> None:
    refused = 0
    for number, (what, change) in enumerate(mutants):
        target = tmp_path / str(number) / "model"
        shutil.copytree(model, target)
        change(target)
        try:
            said = spoken(target, target.parent)
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        for text in said:
            # a recipe's error has a line above it that names the recipe
            line = text.removeprefix("small: 1 problem\n  model.init: ")
            assert "\n" not in line and "model" in line, f"{what}: {text}"
        refused += bool(said)
        shutil.rmtree(target.parent)
    assert refused > 10, "the damage is seen"
