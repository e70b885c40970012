"""Hold a merged directory against the shards it came from; runs in verl's environment and stands alone.

`export.py REQUEST.json RESULT.json`. The shards are put together here by the placements that each of them
carries, not by verl's merger; then weights, log-probabilities and greedy replies of fixed texts must be the
same. What is wrong is listed in the result: nothing is repaired here.

Request: weights (the folder of the shards), merged, policy (what the job began with), world_size, texts,
new_tokens. Result: problems, and what was found; see `main`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


def assembled(folder: Path, world: int) -> tuple[dict[str, Tensor], list[str]]:
    """The whole state dict of all ranks' shards in their own precision, and what is wrong with them."""
    paths = [folder / f"model_world_size_{world}_rank_{rank}.pt" for rank in range(world)]
    # mmap: 14B parameters in fp32 are 56 GB, of which one tensor is looked at at a time
    ranks = [torch.load(path, map_location="cpu", weights_only=False, mmap=True) for path in paths]
    names = set(ranks[0])
    problems = [f"rank {n} holds other tensors than rank 0" for n, r in enumerate(ranks) if set(r) != names]
    if problems:
        return {}, problems
    found = {}
    for name in sorted(names):
        try:
            found[name] = whole([rank[name] for rank in ranks])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return found, problems


def whole(parts: list[Any]) -> Tensor:
    """One tensor of its parts by rank; ValueError where they do not fit together."""
    if not all(isinstance(part, DTensor) for part in parts):
        if any(isinstance(part, DTensor) for part in parts):
            raise ValueError("some ranks hold a shard of it, others all of it")
        if not all(torch.equal(part, parts[0]) for part in parts):
            raise ValueError("the ranks hold different copies")
        copy: Tensor = parts[0]
        return copy
    first = parts[0]
    out = torch.full(first.shape, float("nan"), dtype=first.dtype)
    written = torch.zeros(first.shape[:1] or (1,), dtype=torch.bool)
    for rank, part in enumerate(parts):
        if part.shape != first.shape or part.placements != first.placements:
            raise ValueError(f"rank {rank} says another shape or placement than rank 0")
        place = (part.device_mesh.mesh == rank).nonzero()[0].tolist()
        low, high, local = 0, first.shape[0] if first.dim() else 1, part._local_tensor
        for at, size, placement in zip(place, part.device_mesh.mesh.shape, part.placements, strict=True):
            if isinstance(placement, Shard):
                if placement.dim != 0:
                    raise ValueError(f"it is cut along dimension {placement.dim}, which FSDP does not do")
                step = -(-(high - low) // size)  # as torch.chunk cuts: the last parts are shorter, or empty
                low, high = min(high, low + at * step), min(high, low + (at + 1) * step)
            elif placement.is_partial():
                raise ValueError("it holds sums that were never added up")
        if local.shape[:1] != (high - low,) and first.dim():
            raise ValueError(f"rank {rank} holds {tuple(local.shape)}, its part has {high - low} rows")
        if bool(written[low:high].any()) and not torch.equal(out[low:high], local):
            raise ValueError(f"rank {rank} holds another copy of rows {low} to {high - 1}")
        out[low:high] = local
        written[low:high] = True
    if not bool(written.all()):
        raise ValueError("no rank holds some of its rows")
    return out


def compare(merged: dict[str, Tensor], trained: dict[str, Tensor], tied: bool) -> list[str]:
    """What of the merged model is not the trained one, rounded as the merged files are."""
    problems = []
    if tied and HEAD in trained and TABLE in trained and not torch.equal(trained[HEAD], trained[TABLE]):
        problems.append("the model ties its head to its embeddings, but the shards hold two different ones")
    for name, tensor in merged.items():
        wanted = trained.get(TABLE if tied and name == HEAD else name)
        if wanted is None:
            problems.append(f"{name} is in no shard")
        elif wanted.shape != tensor.shape:
            problems.append(f"{name} has shape {tuple(tensor.shape)}, in the shards {tuple(wanted.shape)}")
        elif not torch.equal(wanted.to(tensor.dtype), tensor):
            gap = (wanted.float() - tensor.float()).abs().max()
            problems.append(f"{name} is not what was trained: up to {gap:.2e} away")
    problems += [f"{name} was trained and is not in the merged files" for name in set(trained) - set(merged)]
    return sorted(problems)


def changed(start: dict[str, Tensor], trained: dict[str, Tensor], may_stand: bool) -> list[str]:
    """Whether the job moved the weights; `may_stand`: it need not have, as a short part of a stage."""
    missing = sorted(set(start) - set(trained) - {HEAD})
    if missing:
        return [f"{missing[0]} of the model that the job began with is in no shard"]
    names = [name for name in start if name in trained]
    if not may_stand and all(torch.equal(start[name].float(), trained[name].float()) for name in names):
        return ["the weights are those that the job began with: nothing was trained"]
    return []


def kept(model: Any, trained: dict[str, Tensor], path: Path) -> Any:
    """The merged model in the precision of the shards, written over the merger's files.

    verl's merger rounds to bf16: at every border of a chain that would lose what its steps moved by less.
    """
    for file in path.glob("*.safetensors*"):
        file.unlink()
    model = model.to(next(iter(trained.values())).dtype)
    model.load_state_dict(trained, strict=False)  # a tied head stands in the embeddings alone
    model.tie_weights()
    model.save_pretrained(path)
    return AutoModelForCausalLM.from_pretrained(path, dtype="auto")


@torch.no_grad()
def told(model: Any, ids: list[list[int]], new_tokens: int) -> tuple[list[list[float]], list[list[int]]]:
    """(log-probabilities of each text's tokens after the first, its greedy continuation), in fp32."""
    logprobs, greedy = [], []
    for row in ids:
        scores = model(torch.tensor([row])).logits[0].float().log_softmax(-1)
        logprobs.append([float(scores[i, token]) for i, token in enumerate(row[1:])])
        reply = list(row)
        for _ in range(new_tokens):
            reply.append(int(model(torch.tensor([reply])).logits[0, -1].argmax()))
        greedy.append(reply[len(row) :])
    return logprobs, greedy


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that was found.

    problems  what is wrong; none: the merged directory is what was trained
    ids       of the texts; logprobs, greedy: what the merged model says of them
    dtype     of the merged weights; trained_dtype: of the shards
    rounding  the largest change of a log-probability by rounding the trained weights to `dtype`, nats
    """
    torch.manual_seed(0)
    path = request["merged"]
    config = AutoConfig.from_pretrained(path)
    tied = bool(getattr(config, "tie_word_embeddings", False))
    tokenizer = AutoTokenizer.from_pretrained(request["policy"])
    ids = [tokenizer.encode(text, add_special_tokens=False)[:64] for text in request["texts"]]
    trained, problems = assembled(Path(request["weights"]), request["world_size"])
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    merged = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in merged.values()})
    found: dict[str, Any] = {"problems": problems, "ids": ids, "dtype": "/".join(dtypes), "tied": tied}
    if problems:
        return found
    found["trained_dtype"] = str(next(iter(trained.values())).dtype).removeprefix("torch.")
    if len(dtypes) > 1:
        problems.append(f"the merged files mix precisions: {', '.join(dtypes)}")
    if tied and model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        problems.append("the model ties its head to its embeddings, but the merged files hold two of them")
    problems += compare(merged, trained, tied)
    start = AutoModelForCausalLM.from_pretrained(request["policy"], dtype="auto").state_dict()
    problems += changed(start, trained, request["may_stand"])
    if problems:
        return found
    if found["dtype"] != found["trained_dtype"]:
        model = kept(model, trained, Path(path))
        merged = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found["dtype"] = str(next(iter(merged.values())).dtype).removeprefix("torch.")
        problems += compare(merged, trained, tied)
    model = model.float().eval()
    found["logprobs"], found["greedy"] = told(model, ids, request["new_tokens"])
    rounded = {name: tensor.to(merged[name].dtype).float() for name, tensor in trained.items()}
    model.load_state_dict(rounded)
    logprobs, greedy = told(model, ids, request["new_tokens"])
    if logprobs != found["logprobs"] or greedy != found["greedy"]:
        problems.append("the merged directory answers otherwise than the shards that it was made from")
    model.load_state_dict({name: tensor.float() for name, tensor in trained.items()})
    exact, _ = told(model, ids, 0)
    gaps = [abs(a - b) for pair in zip(exact, logprobs, strict=True) for a, b in zip(*pair, strict=True)]
    found["rounding"] = max(gaps, default=0.0)
    return found


if __name__ == "__main__":
    result = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(result))
