"""Own pairs as a benchmark: how often a reward model prefers the policy's reply, on prompts it was not trained on."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from small_run import changed, go
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.data.pair_benchmark import pair_benchmark, pairs_of
from cascade_rl.data.pairs import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Services
from cascade_rl.errors import InputError, RecipeError, StageError
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.recipe.explain import explain
from cascade_rl.report.status import run_status
from cascade_rl.scores.judged import Judged
from cascade_rl.sources.splits import split_of
from cascade_rl.testing import ScriptedSampler
from cascade_rl.types import Mode, Split

PROMPTS = 120


def pair(number: int, other: str = "") -> dict:
    return {"prompt": f"What of {number}?", "chosen": f"{number} is fine{other}.", "rejected": "no"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """A prompt has one pair; every fourth a second one, and every tenth row stands there twice."""
    made = [pair(n) for n in range(PROMPTS)] + [pair(n, " indeed") for n in range(0, PROMPTS, 4)]
    made += [pair(n) for n in range(0, PROMPTS, 10)]
    path = tmp_path_factory.mktemp("rows") / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, made)))
    return path


def recipe(rows: Path, **more) -> dict:
    own = {"source": f"jsonl:{rows}", "map": "trl-preference"}
    found = changed(reward=own | {"pairs": 40, "heldout_pairs": 99, "domain": None})
    del found["stages"][1]["domain"]
    found["stages"][2]["data"] = [
        {"domain": "alignment", "source": f"jsonl:{rows}", "problems": 8,
         "map": {"prompt": {"column": "prompt"}, "answer": {"constant": {}}}}
    ]  # fmt: skip
    taste = own | {
        "name": "taste",
        "problems": 12,
        "k": 2,
        "max_response_tokens": 6,
        "max_prompt_tokens": 400,
    }
    found["benchmarks"] = [taste | more]
    return found


def spec(path: Path, **more) -> BenchmarkSpec:
    return BenchmarkSpec(name="taste", source=f"jsonl:{path}", map="trl-preference", **more)


HELD = [n for n in range(PROMPTS) if split_of(pair(n)["prompt"]) is Split.HELDOUT]


def test_it_asks_what_no_reward_model_trains_on(rows, tmp_path):
    made = check_recipe(recipe(rows, problems=999))
    [benchmark] = gather_benchmarks(made)
    asked = {problem.prompt_text for problem in benchmark.problems}
    assert asked == {pair(n)["prompt"] for n in HELD} and 10 < len(HELD) < 40
    data = provide(made.stages[1], {}, 0, shelf=Shelf(tmp_path))
    assert not asked & {p.problem.prompt_text for p in data.training}
    # each pair once, whatever the file repeats
    found = [(p.problem.prompt_text, p.chosen) for p in pairs_of(benchmark)]
    assert len(found) == len(set(found)) == len(HELD) + sum(n % 4 == 0 for n in HELD)
    [tally] = benchmark.tallies
    assert tally.read == PROMPTS + 30 + 12 and tally.repeated == 12 and tally.used == len(found)
    assert f"{len(HELD)} prompts" in tally.line()
    # of one seed as of another, and the same first ones where fewer are asked
    few = gather_benchmarks(check_recipe(recipe(rows) | {"seed": 5}))[0].problems
    assert few == benchmark.problems[:12] and benchmark.headline is Mode.INSTRUCT


def test_prompts_that_differ_by_case_alone_are_left_out(tmp_path):
    trained = next(f"word {n}" for n in range(999) if split_of(f"word {n}") is Split.SFT)
    alike = next(
        text for text in (trained.upper(), *(trained.replace(" ", " " * n) for n in range(2, 99)))
        if split_of(text) is Split.HELDOUT
    )  # fmt: skip
    apart = next(f"other {n}" for n in range(999) if split_of(f"other {n}") is Split.HELDOUT)
    path = tmp_path / "p.jsonl"
    made = [{"prompt": text, "chosen": "a", "rejected": "b"} for text in (trained, alike, apart)]
    path.write_text("\n".join(map(json.dumps, made)))
    benchmark = pair_benchmark(spec(path), Split.HELDOUT)
    assert [p.prompt_text for p in benchmark.problems] == [apart]
    assert "1 left out, since their prompts are trained on" in benchmark.tallies[0].line()
    path.write_text(json.dumps(made[0]))
    with pytest.raises(InputError, match=r"of the 1 pairs .* none is in the heldout split"):
        pair_benchmark(spec(path), Split.HELDOUT)
    assert len(pair_benchmark(spec(path, split="all"), Split.HELDOUT).problems) == 1


def test_a_column_may_say_which_rows_are_held_out_and_columns_may_have_other_names(tmp_path):
    rows = [
        {"q": f"word {n}", "good": "a", "bad": "b", "part": "heldout" if n < 3 else "rl"} for n in range(9)
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    columns = {"prompt": {"column": "q"}, "chosen": {"column": "good"}, "rejected": {"column": "bad"}}
    said = BenchmarkSpec(name="taste", source=f"jsonl:{path}", map=columns, split="part")
    found = pair_benchmark(said, Split.HELDOUT)
    assert {p.prompt_text for p in found.problems} == {"word 0", "word 1", "word 2"}


class Longest:
    """Prefers the longer answer."""

    async def score(self, messages, answer):
        return float(len(answer))


@pytest.mark.parametrize(
    ("reply", "mode", "won"),
    [
        ("{} is fine.", "instruct", 0.5), ("{} is fine, and more.", "instruct", 1.0), ("no", "instruct", 0.0),
        ("<think>\nwell\n</think>\n\n{} is fine.", "thinking", 0.5), ("<think>\nlong and longer yet", "thinking", 0.0),
        ("", "instruct", 0.0), ("a text without a thought", "thinking", 0.0),
    ],
)  # fmt: skip
def test_a_reply_wins_ties_or_loses(rows, reply, mode, won):
    keys = {"problems": 999, "mode": mode, "both_modes": False, "max_response_tokens": 100}
    [benchmark] = gather_benchmarks(check_recipe(recipe(rows, **keys)))

    def replies(problem):
        return [reply.format(problem.prompt_text.split()[-1].rstrip("?"))] * 9

    found = run_benchmark(benchmark, ScriptedSampler(replies), Services(reward_model=Longest()))
    assert not found.failed
    for problem in benchmark.problems:
        chosen = [good for good, _ in problem.answer]
        # against the second chosen answer, which is longer, a reply of the first's length loses
        wanted = won / len(chosen) if len(chosen) > 1 and won == 0.5 else won
        assert found.score.score.k == 2
        assert found.score.modes[Mode(mode)].per_problem[problem.id] == wanted


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory) -> tuple[dict, Path, list[str]]:
    run = tmp_path_factory.mktemp("whole") / "run"
    made = recipe(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cascade_rl.train.reward_body.HEAD_SCALE", 0.5)
        notes = go(run, made)
    return made, run, notes


def test_a_whole_run_scores_it_from_the_reward_model_on(whole):
    _, run, notes = whole
    matrix = json.loads((run / "matrix.json").read_text())
    row = matrix["benchmarks"]["taste"]
    assert list(row["scores"]) == ["reward", "rlhf"] and row["own_stage"] == "rlhf"
    assert row["scores"]["rlhf"]["n"] == 12 and row["scores"]["rlhf"]["k"] == 2
    assert set(row["modes"]["rlhf"]) == {"thinking", "instruct"}
    assert not (run / "stages/01-sft/eval/taste.json").exists()
    gates = [row.gate for row in run_status(run).stages]
    assert gates == ["not measured", "passed", "passed"]
    # judged by a reward model that the workers are rid of again; the policy is not the reward model's
    assert sum("judged by the reward model of reward" in note for note in notes) == 2
    for name in ("02-reward", "03-rlhf"):
        card = json.loads((run / f"stages/{name}/scorecard.json").read_text())
        assert card["judged"]["taste"]["reward_model"] == "reward"


def test_the_reward_model_is_right_as_often_as_transformers_says(whole):
    made, run, _ = whole
    [benchmark] = gather_benchmarks(check_recipe(made))
    folder = run / "stages/02-reward/reward_model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)

    def score(problem, answer) -> float:
        chat = [{"role": m.role, "content": m.content} for m in problem.messages]
        chat.append({"role": "assistant", "content": answer})
        with torch.no_grad():
            return model(
                **tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
            ).logits.item()

    pairs = pairs_of(benchmark)
    margins = [score(p.problem, p.chosen) - score(p.problem, p.rejected) for p in pairs]
    assert min(map(abs, margins)) > 1e-4
    told = json.loads((run / "stages/03-rlhf/eval/taste.json").read_text())["judged"]
    assert told["pairs"] == len(pairs) == len({(p.problem.id, p.chosen) for p in pairs})
    assert told["accuracy"] == pytest.approx(sum(m > 0 for m in margins) / len(pairs))


def test_everything_that_shows_a_run_says_who_judged(whole, cascade):
    _, run, _ = whole
    status, out, _ = cascade("status", str(run))
    assert status == 0 and "taste" in out
    assert cascade("report", str(run))[0] == 0
    page = (run / "report.html").read_text()
    assert "taste: wins against the chosen answers of own pairs" in page and "could not be read" not in page
    assert "taste was not scored after sft" in page
    cards = [(run / f"stages/{name}/checkpoint/README.md").read_text() for name in ("01-sft", "03-rlhf")]
    assert "| taste | not scored |" in cards[0] and "judged by the reward model" not in cards[0]
    assert "| taste | not scored |" in cards[1] and "judged by the reward model of reward" in cards[1]


def test_a_checkpoint_is_scored_outside_of_its_run(whole, cascade, tmp_path):
    made, run, _ = whole
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    checkpoint = run / "stages/03-rlhf/checkpoint"
    inside = json.loads((run / "stages/03-rlhf/eval/taste.json").read_text())["modes"]["instruct"]
    status, out, err = cascade("eval", str(checkpoint), "--recipe", "r.yaml")
    assert status == 0, err
    assert f"{100 * inside['avg']['mean']:.1f}" in out and "judged by the reward model of reward" in out

    away = tmp_path / "away"
    shutil.copytree(checkpoint, away)
    status, _, err = cascade("eval", str(away), "--recipe", "r.yaml")
    assert status == 1 and "judged by the reward model of stage reward" in err and "--reward-model" in err
    given = str(run / "stages/02-reward/reward_model")
    status, again, err = cascade("eval", str(away), "--recipe", "r.yaml", "--reward-model", given)
    assert status == 0 and f"{100 * inside['avg']['mean']:.1f}" in again, err
    status, _, err = cascade("eval", str(away), "--recipe", "r.yaml", "--reward-model", "nowhere")
    assert status == 1 and "nowhere is no folder" in err


def test_a_done_run_is_kept_and_another_reward_model_is_another_score(whole, tmp_path):
    made, run, _ = whole
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    files = sorted(copied.rglob("eval/taste.json"))
    before = [path.read_bytes() for path in files]
    assert sum("is done: kept" in note for note in go(copied, made)) == 3
    assert [path.read_bytes() for path in files] == before
    # an evaluation that is gone is made again, to the byte
    files[1].unlink()
    go(copied, made)
    assert files[1].read_bytes() == before[1]
    # damaged, it judges nothing
    files[1].unlink()
    weights = copied / "stages/02-reward/reward_model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(StageError, match="can't be read as a reward model"):
        go(copied, made)


def test_policy_best_probes_it_once_there_is_a_reward_model(rows, tmp_path):
    made = recipe(rows)
    made["gate"] = {"policy": "best", "probe_every": 1, "probe_problems": 3}
    assert {split_of(p.prompt_text) for p in gather_probes(check_recipe(made))[0].problems} == {
        Split.VALIDATION
    }
    go(tmp_path / "run", made)
    probes = {
        name: [line for line in map(json.loads, (tmp_path / f"run/stages/{name}/journal.jsonl").open())
               if line["kind"] == "probe"]
        for name in ("01-sft", "02-reward", "03-rlhf")
    }  # fmt: skip
    assert not probes["01-sft"] and not probes["02-reward"]
    assert [line["step"] for line in probes["03-rlhf"]] == [1, 2] and "taste" in probes["03-rlhf"][0][
        "benchmarks"
    ]


def test_a_second_reward_model_may_judge(rows):
    made = recipe(rows, reward_model="second")
    second = copy.deepcopy(made["stages"][1]) | {"name": "second"}
    made["stages"].insert(2, second)
    made["stages"][3]["reward_model"] = "reward"
    found = check_recipe(made)
    assert found.judge_of(found.benchmarks[0]) == "second"
    assert found.own_stage(found.benchmarks[0]) is None, "nobody asks the second's reward model"
    assert "judged by the reward model of second" in explain(found) and "flatters" not in explain(found)
    made["benchmarks"][0]["reward_model"] = "reward"
    told = explain(check_recipe(made))
    assert "what rlhf asks for rewards, so that its word flatters; reward_model: second would not" in told
    assert "let a second one judge" in explain(check_recipe(recipe(rows)))


@pytest.mark.parametrize(
    ("keys", "path", "text"),
    [
        ({"map": None}, "benchmarks.taste", "needs a domain, or a map of own pairs"),
        ({"map": "gsm8k"}, "benchmarks.taste", "map must be one of own pairs"),
        ({"source": "builtin"}, "benchmarks.taste", "source must be one of"),
        ({"split": "part"}, "benchmarks.taste", "split: no column 'part'"),
        ({"map": {"answer": {"column": "chosen"}}}, "benchmarks.taste", "answer"),
        ({"reward_model": "nope"}, "benchmarks.taste.reward_model", "no reward_model stage 'nope'; there are reward"),
        ({"reward_model": "sft"}, "benchmarks.taste.reward_model", "no reward_model stage 'sft'"),
        ({"domain": "alignment", "map": None, "reward_model": "reward"}, "benchmarks.taste", "no effect with a domain"),
        ({"source": "jsonl:nowhere.jsonl"}, "benchmarks.taste", "nowhere.jsonl"),
    ],
)  # fmt: skip
def test_a_wrong_benchmark_says_so(rows, keys, path, text):
    with pytest.raises(RecipeError) as told:
        check_recipe(recipe(rows, **keys))
    assert [(place, text in why) for place, why in told.value.problems] == [(path, True)]


def test_without_a_reward_model_nobody_judges(rows):
    made = recipe(rows)
    made["stages"] = made["stages"][:1]
    with pytest.raises(RecipeError, match="no stage trains one; add a reward_model stage"):
        check_recipe(made)


def test_the_key_is_no_part_of_recipes_without_it():
    [plain] = check_recipe(changed()).model_dump(mode="json")["benchmarks"]
    assert "reward_model" not in plain and plain["domain"] == "alignment"


def test_who_judged_comes_back_from_its_file():
    judged = Judged.by("rm", [1.0, 0.0, 0.5, 1.0])
    assert judged.accuracy.mean == 0.625 and judged.accuracy.n == 4
    assert Judged.of_json(json.loads(json.dumps(judged.to_json()))) == judged
    with pytest.raises(InputError, match="no record of it"):
        Judged.of_json({"reward_model": "rm"})


def test_the_recipes_of_the_documentation(rows, monkeypatch):
    """Both blocks as they stand, in a recipe with an SFT stage before them."""
    page = (Path(__file__).parent.parent / "docs/chats.md").read_text().split("## Pairs as a benchmark")[1]
    alone, judged = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    monkeypatch.chdir(rows.parent)
    for name in ("pairs-a.jsonl", "pairs-b.jsonl"):
        shutil.copy(rows, name)
    asked = [json.dumps({"prompt": f"Tell me {n}.", "answer": {}}) for n in range(80)]
    Path("prompts.jsonl").write_text("\n".join(asked))
    made = recipe(rows)
    made["model"]["architecture"]["max_position_embeddings"] = 40_000
    assert check_recipe(made | alone).benchmarks[0].name == "taste"
    found = check_recipe(made | judged | {"stages": [made["stages"][0], *judged["stages"]]})
    assert found.judge_of(found.benchmarks[0]) == "judge"
    assert found.stage("rlhf").reward_model_among(found.before("rlhf")) == "reward-model"


def test_pairs_of_a_domains_rows_count_once_too(tmp_path):
    """Twenty held-out pairs are asked for, and the rows have a handful: that many are measured."""
    made = [f"Tell me about town {n}." for n in range(200)]
    rows = [{"prompt": text, "answer": {"chosen": "a good one", "rejected": "bad"}} for text in made]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    few = changed(
        reward={"source": f"jsonl:{tmp_path / 'rows.jsonl'}", "heldout_pairs": 50, "heldout": {"every": 1}}
    )
    few["stages"], few["benchmarks"] = few["stages"][:2], []
    go(tmp_path / "run", few)
    distinct = sum(split_of(text) is Split.VALIDATION for text in made)
    record = json.loads((tmp_path / "run/stages/02-reward/stage.json").read_text())
    assert 1 < distinct < 30 and record["heldout_pairs"] == distinct
    assert record["heldout_loss"]["what"] == f"{distinct} held-out pairs"
    assert record["heldout_loss"]["last"]["accuracy"] == record["heldout_pair_accuracy"]
