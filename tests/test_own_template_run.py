"""A whole run with the chat template that the model brings along: what is said, kept, exported and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from own_templates import OWN
from test_own_model import Notes
from test_tokenizers_families import directory
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cli import main as cli
from cascade_rl.errors import Interrupted, RecipeChanged, RecipeError, StageError
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe.reading import validate
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.types import Message, Mode, Problem

TOOL = {"type": "function", "function": {"name": "warmth", "parameters": {"place": "string"}}}
RECIPE = """
name: own
device: cpu
precision: fp32
model: {init: own, template: model}
preflight: {problems: 2}
stages:
  - {name: sft, kind: sft, steps: 2, samples: 8, batch_size: 4, max_tokens: 900, lr: 0.003,
     data: [{source: "jsonl:chats.jsonl", map: openai-chat}]}
  - {name: reward, kind: reward_model, source: "jsonl:pairs.jsonl", map: trl-preference, steps: 1, batch_size: 4, pairs: 20}
  - {name: rl, kind: rl, steps: 1, prompts_per_step: 2, rollouts_per_prompt: 2, max_response_tokens: 4, mode_mix: half,
     max_prompt_tokens: 900, data: [{domain: alignment, problems: 4}]}
benchmarks: [{name: maths, domain: maths, problems: 2, k: 1, max_prompt_tokens: 900, max_response_tokens: 4}]
"""


def user(text):
    return {"role": "user", "content": text}


def chat_row(number):
    call = {"type": "function", "function": {"name": "warmth", "arguments": '{"place": "Oslo"}'}}
    return {
        "messages": [
            user(f"How warm is it in town {number}? <|im_end|>"),
            {"role": "assistant", "content": "", "reasoning_content": "I must look.", "tool_calls": [call]},
            {"role": "tool", "content": "-4"},
            {"role": "assistant", "content": "Four below zero."},
        ],
        "tools": [TOOL],
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("chats.jsonl", map(chat_row, range(6)))
    pairs = ({"prompt": f"Which is {n}?", "chosen": f"{n} it is.", "rejected": "no"} for n in range(40))
    write("pairs.jsonl", pairs)
    return tmp_path


def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def of(name: str, change=None, *, tools: bool = True) -> dict:
    if not tools:
        reply = {"role": "assistant", "content": "Four below zero.", "reasoning_content": "I know."}
        write("chats.jsonl", [{"messages": [user(f"How warm is it in town {n}?"), reply]} for n in range(8)])
    inner = OWN[name].made()
    directory(Path("own"), inner, eos_token_id=[inner.eos_token_id])
    raw = yaml.safe_load(RECIPE)
    if change:
        change(raw)
    Path("own.yaml").write_text(yaml.safe_dump(raw))
    return raw


def cascade(*words: str, entered: str | None = None):
    return CliRunner().invoke(cli.app, words, input=entered)


def test_a_run_with_the_template_of_qwen_3s_kind(here):
    raw = of("qwen-3")
    screen = Notes()
    run_cascade(validate(raw), Path("run"), screen)
    said = "template: the model's own (model:"
    assert any(note.startswith(said) and "enable_thinking=false" in note for note in screen.notes)
    stage = Path("run/stages/03-rl")
    lineage = json.loads((stage / "stage.json").read_text())["lineage"]
    tokenizer = load_tokenizer(stage / "checkpoint")
    assert lineage["template"] == tokenizer.template.hash and said in lineage["base"]
    card = (stage / "checkpoint/README.md").read_text()
    assert "with the chat template that its base model has, unchanged" in card and "` /think`" not in card
    assert f"| chat template | {tokenizer.template.hash} |" in card

    # transformers alone, with nothing but the checkpoint, asks as RL asked
    theirs = AutoTokenizer.from_pretrained(stage / "checkpoint")
    assert theirs.chat_template == OWN["qwen-3"].template
    modes = set()
    for _, group in read_groups(read_lines(stage / "rollouts.jsonl")):
        problem = group.problem
        rows = [{"role": m.role, "content": m.content} for m in problem.messages]
        ids = theirs.apply_chat_template(
            rows, add_generation_prompt=True, return_dict=False, enable_thinking=problem.mode is Mode.THINKING
        )
        assert tokenizer.prompt(problem) == ids
        modes.add(problem.mode)
    assert modes == set(Mode)
    AutoModelForCausalLM.from_pretrained(stage / "checkpoint")
    reward = load_tokenizer(Path("run/stages/02-reward/reward_model"))
    assert reward.template.name == "model"

    # the commands on a checkpoint take the template that it was trained with
    scores = cascade("eval", str(stage / "checkpoint"), "--recipe", "own.yaml")
    assert scores.exit_code == 0, scores.output
    talk = cascade("chat", str(stage / "checkpoint"), "--max-new-tokens", "4", entered="hello /no_think\n\n")
    assert talk.exit_code == 0 and "switch the mode" in talk.output, talk.output
    again = Notes()
    run_cascade(validate(raw), Path("run"), again)
    assert {"sft is done: kept", "reward is done: kept", "rl is done: kept"} <= set(again.notes)
    raw["model"] = {"init": "own"}
    with pytest.raises(RecipeChanged, match="-  template: model"):
        run_cascade(validate(raw), Path("run"), Notes())


def test_a_run_that_was_stopped_goes_on_as_one_that_was_not(here):
    def short(raw):
        raw["stages"][0] |= {"steps": 4, "save_every": 1}
        raw["stages"] = raw["stages"][:1]

    recipe = validate(of("smollm-3", short, tools=False))
    run_cascade(recipe, Path("whole"), Notes())
    asked = iter([False, False, False, True])
    with pytest.raises(Interrupted):
        run_cascade(recipe, Path("cut"), Notes(), stop_asked=lambda: next(asked, True))
    run_cascade(recipe, Path("cut"), Notes())
    ledgers = [json.loads(Path(name, "ledger.json").read_text())["stages"] for name in ("whole", "cut")]
    assert ledgers[0][0]["weights"] == ledgers[1][0]["weights"]


def test_check_says_what_was_found_and_the_guide_knows_the_key(here):
    of("qwen-3")
    shown = " ".join(cascade("check", "own.yaml").output.split())
    assert (
        "template: model" in shown
        and "thinking: enable_thinking=true; instruct: enable_thinking=false" in shown
    )


def test_modes_that_the_template_can_not_ask_for_are_named_with_the_mend(here):
    raw = of("llama-3")
    with pytest.raises(RecipeError) as found:
        run_cascade(validate(raw), Path("run"), Notes())
    told = dict(found.value.problems)
    assert set(told) == {"stages.rl.mode_mix", "benchmarks.maths.both_modes"}
    assert "can ask for instruct mode only: set mode_mix: instruct" in told["stages.rl.mode_mix"]
    assert "set both_modes: false and mode: instruct" in told["benchmarks.maths.both_modes"]
    assert not Path("run").exists() and cascade("check", "own.yaml").exit_code == 1


def only_instruct(raw):
    raw["stages"][2]["mode_mix"] = "instruct"
    raw["benchmarks"][0] |= {"both_modes": False, "mode": "instruct"}


@pytest.mark.parametrize("name", ["llama-3", "mistral"])
def test_a_run_with_a_template_that_says_no_mode(here, name):
    """As told by the message above; rows without thoughts, with tools."""
    rows = [chat_row(number) for number in range(6)]
    for row in rows:
        del row["messages"][1]["reasoning_content"]
    write("chats.jsonl", rows)
    raw = of(name, only_instruct)
    run_cascade(validate(raw), Path("run"), Notes())
    theirs = AutoTokenizer.from_pretrained("run/stages/03-rl/checkpoint")
    assert theirs.chat_template == OWN[name].template
    talk = cascade("chat", "run/stages/03-rl/checkpoint", "--max-new-tokens", "4", entered="hello /think\n\n")
    assert "knows instruct mode only" in talk.output and "can't ask otherwise: instruct mode" in talk.output
    wrong = cascade(
        "eval", "run/stages/03-rl/checkpoint", "--recipe", "own.yaml", "benchmarks.maths.both_modes=true"
    )
    assert "can't ask for thinking mode; add benchmarks.maths.both_modes=false" in str(wrong.exception)


def test_a_model_that_was_not_trained_here_is_asked_by_its_own_template_on_request(here):
    """One without our markers, which could not be looked at without changing it."""
    of("llama-3", only_instruct)
    talk = cascade("chat", "own", "--template", "model", "--max-new-tokens", "4", entered="hello\n\n")
    assert talk.exit_code == 0 and "knows instruct mode only" in talk.output
    refused = cascade("chat", "own", entered="hello\n\n")
    assert "set model.add_tokens: true in the recipe" in str(refused.exception)
    scores = cascade("eval", "own", "--recipe", "own.yaml")
    assert scores.exit_code == 0 and "instruct" in scores.output
    alone = cascade("doctor", "--template", "model")
    assert "--template has no effect without --model" in str(alone.exception)


def test_the_row_of_a_pair_that_the_template_refuses_is_named(here):
    pairs = [{"prompt": f"Which is {n}?", "chosen": f"{n} it is.", "rejected": "no"} for n in range(40)]
    pairs[7] = {
        "chosen": [{"role": "system", "content": "s"}, user("q"), {"role": "assistant", "content": "a"}],
        "rejected": [{"role": "system", "content": "s"}, user("q"), {"role": "assistant", "content": "b"}],
    }
    write("pairs.jsonl", pairs)
    rows = [{"messages": [user("hello"), {"role": "assistant", "content": "a"}]} for _ in range(8)]
    write("chats.jsonl", rows)
    raw = of("gemma", only_instruct)
    raw["stages"][1] |= {"pairs": 40, "heldout_pairs": 40}
    with pytest.raises(
        StageError, match=r"^reward: pairs\.jsonl:8, 'q': the model's chat template has no place"
    ):
        run_cascade(validate(raw), Path("run"), Notes())


def test_a_row_that_the_template_refuses_is_named_before_the_first_stage(here):
    rows = [{"messages": [user("hello there"), {"role": "assistant", "content": "a"}]} for _ in range(8)]
    rows[5]["messages"] = [{"role": "system", "content": "Be brief."}, *rows[5]["messages"]]
    write("chats.jsonl", rows)
    raw = of("gemma", only_instruct)
    with pytest.raises(StageError) as found:
        run_cascade(validate(raw), Path("run"), Notes())
    told = str(found.value)
    assert told.startswith(
        "sft: chats.jsonl:6, 'hello there': the model's chat template has no place for a system"
    )
    assert "put it at the beginning of the user's first text" in told and not Path("run/stages").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"init": "scratch", "template": "model"}, "template: model has no effect with init: scratch"),
        ({"template": "model", "add_tokens": True}, "add_tokens: no effect with template: model"),
        ({"template": "own"}, "'cascade' or 'model'"),
    ],
)
def test_keys_that_do_not_go_together(model, message):
    with pytest.raises(ValueError, match=message):
        validate(yaml.safe_load(RECIPE) | {"model": {"init": "own", **model}})


def test_older_recipes_have_no_new_key():
    raw = yaml.safe_load(RECIPE) | {"model": {"init": "own"}}
    assert "template" not in validate(raw).model.model_dump(mode="json")


def test_a_prompt_is_asked_the_same_way_by_every_command(here):
    of("qwen-3")
    one, other = load_tokenizer(Path("own"), template="model"), load_tokenizer(Path("own"))
    problem = Problem("p", "toy", (Message("user", "a"),), None)
    assert other.template.name == "cascade", "a directory that does not say is read as ever"
    assert one.prompt(problem) != other.prompt(problem)
