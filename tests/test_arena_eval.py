"""`cascade eval --suite arena_hard_v2` from end to end: a tiny checkpoint, a judge behind a port, a reward model."""

import json
from pathlib import Path

import pytest
import yaml
from test_judge import Server, completion, status
from tiny import random_flat, raw_config, tokenizer

import cascade_rl
from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.scores.arena import arena_summary
from cascade_rl.train.learned_reward import head_shape

RECIPES = Path(cascade_rl.__file__).parent / "recipes"
CHANGES = ("mode=instruct", "max_response_tokens=12", "problems=6")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("models"), DecoderConfig.from_hf(raw_config())
    export(folder / "policy", raw_config(), config, random_flat(config, 0, 0.1), tokenizer())
    extra = head_shape(config)
    reward = random_flat(config, 1, 0.1, extra)
    export(folder / "reward", raw_config(), config, reward, tokenizer(), config.shapes() | extra)
    return folder


@pytest.fixture
def asked(models, tmp_path):
    """The command with own requests, half of each category."""
    rows = [
        {
            "uid": f"u{i}",
            "category": "hard" if i % 2 else "easy",
            "prompt": f"Say {i}.",
            "baseline": f"{i} {i}",
        }
        for i in range(6)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ("--data", "arena_hard_v2=jsonl:own.jsonl")
    return ("eval", str(models / "policy"), "--suite", "arena_hard_v2", *CHANGES, *data)


def results(folder):
    samples = [json.loads(line) for line in (folder / "arena_hard_v2.samples.jsonl").read_text().splitlines()]
    return json.loads((folder / "arena_hard_v2.json").read_text()), samples


def test_a_judge_behind_a_port_compares_and_another_one_never_mixes_in(cascade, asked, tmp_path):
    with Server(completion("B is worse.\n[[A>>B]]")) as server:
        command = (*asked, "--judge", f"openai:{server.url}#the-judge", "--out", "found")
        code, out, err = cascade(*command)
        assert code == 0, err
        questions = len(server.requests)
        # asked again, nothing is missing
        assert cascade(*command)[0] == 0 and len(server.requests) == questions
        code, _, err = cascade(*asked, "--judge", f"openai:{server.url}#another", "--out", "found")
        assert code == 1 and "compared_by" in err
        code, out, err = cascade(*command[:4], "--regrade", "--out", "found")
        assert code == 0 and "0 of 6 verdicts are others" in out and len(server.requests) == 2 * questions
        assert {request["model"] for request in server.requests} == {"the-judge"}
    # what of it is told on the screen
    assert "standing first is worth" in out and "at equal style" in out
    found, samples = results(tmp_path / "found")
    answered = [one for one in samples if one["note"] != "no answer"]
    assert questions == 2 * len(answered) > 0
    # a judge of the first alone: a half wherever there was an answer
    assert {one["reward"] for one in answered} == {0.5}
    also = found["statistics"]["also"]["instruct"]
    assert also["place"]["advantage"]["mean"] == pytest.approx(len(answered) / 6, abs=1e-6)
    assert set(also["groups"]) == {"easy", "hard"}
    groups = {
        one["problem"]: "easy" if int(one["problem"].split(":")[1][1:]) % 2 == 0 else "hard"
        for one in samples
    }
    assert arena_summary(samples, groups) == also, "from the stored samples alone"
    assert found["settings"]["compared_by"]["model"] == "the-judge"


def test_a_judge_that_refuses_ends_it_and_a_new_try_asks_for_verdicts_alone(cascade, asked, tmp_path):
    with Server(status(401)) as server:
        command = (*asked, "--judge", f"openai:{server.url}#j", "--out", "found")
        code, _, err = cascade(*command)
        assert code != 0 and "HTTP 401" in err
        stored = results_of(tmp_path / "found")
        assert len(stored) == 6 and any(one["reward"] is None for one in stored)


def results_of(folder):
    return [json.loads(line) for line in (folder / "arena_hard_v2.samples.jsonl").read_text().splitlines()]


def test_a_reward_model_compares(cascade, asked, models, tmp_path):
    code, _, err = cascade(*asked, "--reward-model", str(models / "reward"), "--out", "found")
    assert code == 0, err
    found, samples = results(tmp_path / "found")
    judged = [one for one in samples if "margin" in one["parts"]]
    assert judged and all(one["parts"]["game_ab"] == one["parts"]["game_ba"] for one in samples)
    assert all((one["parts"]["margin"] > 0) == (one["reward"] == 1) for one in judged)
    assert found["statistics"]["also"]["instruct"]["place"]["disagree"]["mean"] == 0
    code, _, err = cascade(*asked[:4], "--regrade", "--out", "found")
    assert code == 1 and "compared by a reward model" in err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "replies are compared by a judge: --judge openai:URL#MODEL, or --reward-model FOLDER"),
        (("--judge", "http://127.0.0.1:1/v1"), "want openai:URL#MODEL"),
        (("--judge", "openai:http://127.0.0.1:1/v1"), "want openai:URL#MODEL"),
        (("--judge", "openai:http://h:1/v1#m", "--reward-model", "."), "one or the other"),
        (("--judge-key-variable", "KEY"), "no effect without --judge"),
        (("--reward-model", "nowhere"), "is no folder"),
        (("--judge", "openai:http://h:1/v1#m", "--judge-key-variable", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
    ],
)
def test_who_compares_is_settled_before_a_reply_is_drawn(cascade, asked, tmp_path, more, told):
    code, _, err = cascade(*asked, *more, "--out", "found")
    assert code == 1 and told in err
    assert not list(tmp_path.glob("found/*.samples.jsonl")) or not results_of(tmp_path / "found")


def test_a_judge_without_anything_to_compare_is_refused(cascade, models, tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps({"question": "What is 1 + 1?", "answer": "2"}) + "\n")
    command = ("eval", str(models / "policy"), "--suite", "aime24", "--data", "aime24=jsonl:own.jsonl")
    code, _, err = cascade(*command, "--judge", "openai:http://h:1/v1#m")
    assert code == 1 and "--judge has no effect" in err
    code, _, err = cascade("eval", str(models / "policy"), "--judge", "openai:http://h:1/v1#m")
    assert code == 1 and "no effect without --suite" in err


def test_a_recipe_that_names_it_is_refused_before_a_run():
    made = yaml.safe_load((RECIPES / "tiny.yaml").read_text())
    named = {"suite": "arena_hard_v2", "max_response_tokens": 64, "max_prompt_tokens": 64}
    with pytest.raises(RecipeError, match="a run has no judge for it"):
        check_recipe({**made, "benchmarks": [*made["benchmarks"], named]})
