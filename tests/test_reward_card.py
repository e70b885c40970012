"""What is exported of a reward model: a score read with transformers alone, as its card says, is ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from small_run import changed, go

from cascade_rl import chat
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.rollout.world import Engine, open_world
from cascade_rl.train.learned_reward import MODEL, reward_row, serve
from cascade_rl.train.stage_run import Exported
from cascade_rl.types import Message, Mode

ONE = (Message("user", "Tell me about rivers."),)
TWO = (
    Message("system", "Be brief."),
    Message("user", "Tell me about lamps."),
    Message("assistant", "<think>\nlamps\n</think>\n\nLamps are warm."),
    Message("user", "And of rivers, ünïcode?"),
)
CALLED = (*ONE, Message("assistant", "<tool_call>\n{}\n</tool_call>"), Message("tool", "wet"))
CHATS = [(ONE, "Gladly! Rivers are calm."), (TWO, "Wide."), (CALLED, "They are wet.\n\nVery.")]


def small(**keys):
    recipe = changed(**keys)
    recipe["stages"], recipe["benchmarks"] = recipe["stages"][:2], []
    return recipe


def rows(messages) -> list[dict]:
    return [{"role": m.role, "content": m.content} for m in messages]


@pytest.fixture(scope="module", params=["fp32", "bf16", "lora"])
def run(request, tmp_path_factory) -> tuple[str, Path]:
    kind = request.param
    recipe = small(reward={"lora": {"rank": 4}, "lr": 0.005} if kind == "lora" else {})
    recipe["model"]["export_dtype"] = "bf16" if kind == "bf16" else "fp32"
    folder = tmp_path_factory.mktemp(kind)
    with pytest.MonkeyPatch.context() as patch:
        # a head that tells answers apart at once: two steps would not teach it to
        patch.setattr("cascade_rl.train.reward_body.HEAD_SCALE", 0.5)
        go(folder / "run", recipe)
    return kind, folder / "run"


def test_the_cards_snippet_reads_our_score(run):
    kind, folder = run
    exported = folder / "stages/02-reward/reward_model"
    card = (exported / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    # a thought before the answer is taken off, as where RL asks
    asked = [(rows(m), answer) for m, answer in CHATS] + [
        (rows(ONE), f"<think>\nhm\n</think>\n\n{CHATS[0][1]}")
    ]
    plain = f"""
import json
print(json.dumps([score(*chat) for chat in {asked!r}]))
other = AutoTokenizer.from_pretrained("../checkpoint")
chat = [*{rows(ONE)!r}, {{"role": "assistant", "content": {CHATS[0][1]!r}}}]
ids = other.apply_chat_template(chat, return_tensors="pt", return_dict=True)
print(model(**ids).logits[0, 0].item())
import sys
assert "cascade_rl" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code + plain], cwd=exported, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    example, found, otherwise = done.stdout.splitlines()
    assert len(example.split()) == 2

    with open_world(folder / "stages/02-reward/checkpoint", Engine()) as world:
        reward = serve(world, Exported(exported, None))
        ours = reward.score_batch([reward_row(world.tokenizer, m, answer) for m, answer in CHATS])
        world.replicas.drop_model(MODEL)
    theirs = json.loads(found)
    assert theirs[3] == theirs[0] and theirs[:3] == pytest.approx(ours, abs=1e-4)
    assert max(ours) - min(ours) > 0.01, "scores that hardly differ prove nothing"
    assert abs(float(otherwise) - ours[0]) > 1e-3, "the plain template reads another text"

    state = load_file(exported / "model.safetensors")
    wanted = "torch.bfloat16" if kind == "bf16" else "torch.float32"
    assert {str(tensor.dtype) for tensor in state.values()} == {wanted}
    assert json.loads((exported / "config.json").read_text())["dtype"] == wanted.removeprefix("torch.")


def test_the_card_says_where_it_comes_from_and_how_often_it_is_right(run):
    _, folder = run
    stage = json.loads((folder / "stages/02-reward/stage.json").read_text())
    card = (folder / "stages/02-reward/reward_model/README.md").read_text()
    share = stage["heldout_pair_accuracy"]
    assert stage["heldout_pairs"] == 4
    assert (
        f"Of 4 held-out pairs, each counted once, the chosen answer scores higher in {100 * share:.1f} %"
        in card
    )
    assert "from the policy after sft (weights" in card and "alignment: 8 preference pairs" in card
    assert "pipeline_tag: text-classification" in card and "kind: reward_model" in card


@pytest.mark.parametrize(("messages", "answer"), CHATS)
def test_the_exported_template_renders_what_is_scored(run, messages, answer):
    _, folder = run
    exported = folder / "stages/02-reward/reward_model"
    inner = load_tokenizer(folder / "base").inner
    inner.chat_template = (exported / "chat_template.jinja").read_text()
    said = [*rows(messages), {"role": "assistant", "content": answer}]
    assert inner.apply_chat_template(said, tokenize=False) == chat.render(
        messages, Mode.INSTRUCT, reply=answer
    )
