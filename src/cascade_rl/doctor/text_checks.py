"""Silent failures between text and token ids. Each check is named after the failure it would catch."""

from __future__ import annotations

import copy
import json
import random

import torch

from cascade_rl import chat
from cascade_rl.doctor.subject import CheckResult, Subject
from cascade_rl.protocols import GREEDY, Sampling
from cascade_rl.recipe import RLStage
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.update import make_rows
from cascade_rl.types import Group, Rollout, Stop, Verdict


def check_retokenised_text_is_trained(s: Subject) -> CheckResult:
    """The sampled ids themselves are trained, also where their text would be encoded differently.

    https://github.com/verl-project/verl/issues/3720, https://github.com/sgl-project/sglang/pull/26555
    """
    rng = random.Random(0)
    special = set(s.tokenizer.inner.all_special_ids)
    plain = [i for i in range(len(s.tokenizer.inner)) if i not in special]
    # single bytes and cut merges, as a sampler at temperature 1 writes them
    drawn = [tuple(rng.choice(plain) for _ in range(6)) for _ in range(200)]
    # four are enough; a tokenizer without any would make the check say nothing, so it fails then
    odd = [ids for ids in drawn if tuple(s.tokenizer.encode(s.tokenizer.decode(ids))) != ids][:4]
    prompt = tuple(s.tokenizer.prompt(s.problems[0]))
    rollouts = tuple(Rollout(prompt, ids, (-1.0,) * 6, s.tokenizer.decode(ids), Stop.LENGTH) for ids in odd)
    group = Group(s.problems[0], rollouts, tuple(Verdict.binary(True) for _ in odd))
    stage = RLStage.model_validate({"name": "x", "kind": "rl", "steps": 1, "data": [{"domain": "maths"}]})
    rows, _ = make_rows([group], [[1.0] * len(odd)], stage, 6)
    same = [tuple(row.ids[row.start :].tolist()) for row in rows] == odd
    return CheckResult(
        same and bool(odd),
        f"{len(odd)} replies whose text encodes differently are trained as they were sampled",
    )


def check_end_of_turn_is_not_trained(s: Subject) -> CheckResult:
    """The end mark is a target of SFT and RL, and a reply that holds the padding token keeps all targets.

    https://github.com/huggingface/trl/issues/1623, https://github.com/pytorch/torchtune/issues/2792
    """
    reply = s.tokenizer.reply("yes")
    prompt = s.tokenizer.prompt(s.problems[0])
    last = int(pack_rows([Row.of(prompt, reply, 1.0)], torch.device("cpu")).targets[-1])
    # the padding token inside: a trainer that finds replies by it would cut this one
    padded = [*reply[:-1], s.tokenizer.pad_id, *reply]
    batch = pack_rows([Row.of(prompt, padded, 1.0), Row.of(prompt * 2, reply * 3, 1.0)], torch.device("cpu"))
    counted = int((batch.rows == 0).sum())
    passed = reply[-1] == last == s.tokenizer.end_id in s.tokenizer.eos_ids and counted == len(padded)
    end = s.tokenizer.template.end
    return CheckResult(
        passed, f"the last target is {last} ({end}), {counted} of {len(padded)} tokens are scored"
    )


def check_second_end_token_counts_as_truncated(s: Subject) -> CheckResult:
    """Every end-of-sequence id of config.json and generation_config.json ends a reply.

    https://github.com/huggingface/trl/pull/7039: 97 % of the replies counted as truncated.
    """
    named = set()
    for file in ("config.json", "generation_config.json"):
        path = s.folder / file
        ids = json.loads(path.read_text()).get("eos_token_id") if path.is_file() else None
        named |= set(ids if isinstance(ids, list) else [] if ids is None else [ids])
    missing = sorted(named - set(s.tokenizer.eos_ids))
    return CheckResult(
        not missing, f"ends {sorted(s.tokenizer.eos_ids)}" + (f"; not honoured: {missing}" * bool(missing))
    )


def check_wrong_number_of_bos_tokens(s: Subject) -> CheckResult:
    """A prompt begins with as many beginning-of-sequence tokens as the tokenizer or its template puts there.

    https://github.com/NVIDIA-NeMo/RL/issues/855, https://github.com/vllm-project/vllm/pull/27517
    """
    bos = s.tokenizer.inner.bos_token_id
    # ChatML models whose first token is the turn's own start have none to count
    if bos is None or bos == s.tokenizer.inner.convert_tokens_to_ids(chat.TURN_START):
        return CheckResult(True, "the model has no beginning-of-sequence token of its own")
    counts = [
        _leading(ids, bos) for ids in (s.tokenizer.prompt(s.problems[0]), s.tokenizer.inner.encode("a"))
    ]
    # a template may put one where the bare tokenizer puts none; neither puts two
    wanted = max(counts[1], bool(s.tokenizer.lead))
    told = (
        f"{counts[0]} in a prompt, {counts[1]} before a text, {int(bool(s.tokenizer.lead))} by the template"
    )
    return CheckResult(counts[0] == wanted, told)


def _leading(ids: list[int], token: int) -> int:
    return next((i for i, found in enumerate(ids) if found != token), len(ids))


def check_template_renders_other_ids(s: Subject) -> CheckResult:
    """The saved template gives, in transformers alone, the very ids that training uses, as a list.

    https://github.com/huggingface/transformers/pull/42567, https://github.com/verl-project/verl/pull/5813
    """
    different = 0
    for problem in s.problems:
        for mode in s.tokenizer.template.modes:
            asked = problem.in_mode(mode)
            messages, said = s.tokenizer.template.request(asked.messages, mode)
            theirs = s.tokenizer.inner.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=False, **said
            )
            different += list(theirs) != s.tokenizer.prompt(asked)
    asked_for = len(s.tokenizer.template.modes) * len(s.problems)
    return CheckResult(different == 0, f"{different} of {asked_for} prompts differ")


def check_end_mark_hidden_from_the_rollout(s: Subject) -> CheckResult:
    """A rollout that ended holds its end token with its log-probability, and its text does not.

    https://github.com/huggingface/trl/pull/3091
    """
    sampling = Sampling(1, 8, GREEDY)
    (whole,) = TorchSampler(s.world.replicas, s.tokenizer).sample(s.problems[:1], sampling)[0]
    ends = copy.copy(s.tokenizer)
    ends.eos_ids = (
        *s.tokenizer.eos_ids,
        whole.ids[len(whole.ids) // 2],
    )  # now the same greedy reply ends half-way
    (cut,) = TorchSampler(s.world.replicas, ends).sample(s.problems[:1], sampling)[0]
    wanted = whole.ids[: whole.ids.index(ends.eos_ids[-1]) + 1]
    text = s.tokenizer.decode(wanted[:-1], cut.prompt_ids)
    passed = cut.ids == wanted and cut.stop is Stop.END and cut.text == text
    return CheckResult(
        passed, f"a reply that ends after {len(wanted)} tokens holds {len(cut.ids)}, stop: {cut.stop}"
    )
