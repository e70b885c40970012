"""A benchmark measured into a folder: stored, cut off, gone on with, judged again; and the models that it fits."""

from __future__ import annotations

import json
import shutil

import pytest
from tiny import random_flat, raw_config, tokenizer

from cascade_rl.cascade.reach import Machine, fitted_to
from cascade_rl.cascade.suite import Told, measure_suite, regrade_suite
from cascade_rl.data.suites import suite_specs
from cascade_rl.domain import Domain, HeldOut, Services
from cascade_rl.errors import GraderFailure, InputError, RecipeError, RunBusy
from cascade_rl.evals.shelf import Shelf
from cascade_rl.evals.suite import Asking, measure, measure_again
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.run.folder import RunLock
from cascade_rl.scores.as_json import from_json
from cascade_rl.testing import QuietScreen, ScriptedSampler
from cascade_rl.types import Message, Mode, Problem, Rollout, Stop, Verdict

PROBLEMS = tuple(
    Problem(f"toy:{i}:ab", "toy", (Message("user", f"say {i}"),), str(i), meta={"group": "odd" if i % 2 else "even"})
    for i in range(6)
)  # fmt: skip


async def grade(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
    return Verdict.binary(rollout.text == asked.answer, "looked")


async def broken(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
    return (
        Verdict.failed("the machine is away")
        if asked.answer == "3"
        else await grade(asked, rollout, services)
    )


async def never(asked: Problem, rollout: Rollout, services: Services) -> Verdict:
    return Verdict.failed("the machine is away")


def held(grader=grade, **spec) -> HeldOut:
    domain = Domain(
        "toy", "says", {"builtin": lambda q: iter(PROBLEMS)}, grader, lambda: (), lambda p: p.answer
    )
    keys = {"name": "toy", "domain": "toy", "k": 2, "both_modes": False, "mode": "instruct", "greedy": False}
    problems = tuple(p.in_mode(Mode.INSTRUCT) for p in PROBLEMS)
    return HeldOut(BenchmarkSpec(**{**keys, **spec}), domain, problems)


def reply(asked: Problem, index: int) -> str:
    """Right where the number is even, and in the first sample of 5."""
    return asked.answer if int(asked.answer) % 2 == 0 or (asked.answer == "5" and index == 0) else "no"


class Sampler(ScriptedSampler):
    """Tells each group as it ends, in an order of its own; gives up after `most` groups."""

    def __init__(self, most: int = 99) -> None:
        super().__init__(reply)
        self.most, self.seen = most, list[str]()

    def sample(self, problems, sampling, finished=None):
        groups = {}
        for place in sorted(range(len(problems)), key=lambda i: (i * 5) % 7):
            if len(groups) == self.most:
                raise ConnectionError("the server is gone")
            asked = problems[place]
            self.seen.append(asked.id)
            groups[place] = tuple(
                Rollout.of_text(reply(asked, n), Stop.LENGTH if n and asked.answer == "1" else Stop.END, 7)
                for n in range(sampling.n)
            )
            if finished and place != 2:  # one that a sampler does not tell of on its way
                finished(place, groups[place])
        return [groups[place] for place in range(len(problems))]


def run(folder, sampler=None, grader=grade, **spec):
    one = held(grader, **spec)
    asking = Asking(answer=lambda problem, text: text)
    return measure(one, sampler or Sampler(), Services(), Shelf(folder, one, settings(**spec)), asking)


def settings(**spec):
    return {"suite": "toy", "k": 2, "model": "m", **spec}


def files(folder):
    """All that is written, without what the clock says."""
    found = {}
    for path in sorted(folder.glob("*.json*")):
        text = path.read_text()
        lines = map(json.loads, text.splitlines() if path.suffix == ".jsonl" else [text])
        found[path.name] = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return found


def test_every_reply_is_stored_and_scored(tmp_path):
    found = run(tmp_path)
    mode = found.score.modes[Mode.INSTRUCT]
    assert dict(mode.per_problem) == {
        f"toy:{i}:ab": {0: 1.0, 2: 1.0, 4: 1.0, 5: 0.5}.get(i, 0.0) for i in range(6)
    }
    assert (mode.average.mean, mode.average.n, mode.average.k, mode.greedy) == (3.5 / 6, 6, 2, None)
    assert (mode.clipped, mode.mean_tokens, found.failed, found.samples) == (1 / 12, 7.0, 0, 12)
    lines = files(tmp_path)["toy.samples.jsonl"]
    assert [(line["problem"], line["sample"]) for line in lines] == [
        (p.id, n) for p in PROBLEMS for n in (0, 1)
    ]
    assert {"text": "0", "reward": 1.0, "stop": "end", "tokens": 7, "answer": "0"}.items() <= lines[0].items()
    (told,) = files(tmp_path)["toy.json"]
    assert from_json(told)[1] == found.score
    assert told["statistics"]["instruct"]["groups"]["of"]["even"]["mean"] == 1.0
    assert told["statistics"]["instruct"]["pass"] == {"1": 3.5 / 6, "2": 4 / 6}
    assert [line["row"] for line in files(tmp_path)["toy.problems.jsonl"]] == [str(i) for i in range(6)]


@pytest.mark.parametrize("most", range(6))
def test_what_was_cut_off_goes_on_to_the_same_files(tmp_path, most):
    """Cut after any number of groups, a line torn, groups left in part: only what is missing is asked, once."""
    run(tmp_path / "whole")
    first = Sampler(most)
    with pytest.raises(ConnectionError):
        run(tmp_path / "cut", first)
    stored = tmp_path / "cut" / "toy.samples.jsonl"
    lines = stored.read_text().splitlines(keepends=True)
    # the last group loses a reply, and a line is torn
    half = [*lines[:-1], lines[-1][:20]] if lines else ["{"]
    stored.write_text("".join(half))
    again = Sampler()
    found = run(tmp_path / "cut", again)
    whole = {json.loads(line)["problem"] for line in lines[:-2]}
    assert sorted([*whole, *again.seen]) == sorted(p.id for p in PROBLEMS)
    assert found.kept == 2 * len(whole)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    last = Sampler()
    run(tmp_path / "cut", last)
    assert last.seen == [] and files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_folder_never_mixes_replies_that_were_drawn_otherwise(tmp_path):
    run(tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"drawn otherwise \(k 2, now 3\).*--out, or remove toy\.\*"):
        run(tmp_path, k=3)
    with pytest.raises(InputError, match="model m, now other"):
        Shelf(tmp_path, held(), {**settings(), "model": "other"})
    assert files(tmp_path) == before


def test_a_changed_answer_is_another_benchmark(tmp_path):
    run(tmp_path)
    other = held()
    changed = HeldOut(
        other.spec, other.domain, (Problem("toy:0:ab", "toy", PROBLEMS[0].messages, "9"), *other.problems[1:])
    )
    with pytest.raises(InputError, match="problems_digest"):
        Shelf(tmp_path, changed, settings())


def test_verdicts_that_fail_are_told_and_asked_again_without_new_replies(tmp_path):
    with pytest.raises(GraderFailure, match="failed twice on 2 of 12"):
        run(tmp_path, grader=broken)
    nulls = [line for line in files(tmp_path)["toy.samples.jsonl"] if line["reward"] is None]
    assert [line["note"] for line in nulls] == ["the machine is away"] * 2
    sampler = Sampler()
    found = run(tmp_path, sampler)
    assert sampler.seen == [] and found.failed == 0
    run(tmp_path / "whole")
    assert files(tmp_path / "whole") == files(tmp_path)


def test_a_new_grader_judges_the_stored_replies(tmp_path):
    run(tmp_path)

    async def generous(asked, rollout, services):
        return Verdict.binary(True)

    one = held(generous)
    found = measure_again(one, Services(), Shelf(tmp_path, one, settings()), Asking())
    assert (found.changed, found.score.score.mean) == (5, 1.0)
    lines = files(tmp_path)["toy.samples.jsonl"]
    assert [line["text"] for line in lines].count("no") == 5 and all(line["reward"] == 1.0 for line in lines)


def test_the_greedy_reply_that_is_asked_for_is_drawn_stored_and_kept_apart(tmp_path):
    sampler = Sampler()
    found = run(tmp_path / "whole", sampler, greedy=True)
    assert len(sampler.seen) == 12 and found.samples == 6 * (2 + 1)
    mode = found.score.modes[Mode.INSTRUCT]
    # the greedy reply is the scripted one of number 0, which is right on 5, too
    assert (mode.average.mean, mode.greedy.mean, mode.greedy.k) == (3.5 / 6, 4 / 6, 1)
    assert found.statistics["instruct"]["k"] == 2
    for most in (2, 5):
        with pytest.raises(ConnectionError):
            run(tmp_path / "cut", Sampler(most), greedy=True)
    run(tmp_path / "cut", greedy=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    one = held(greedy=True)
    again = measure_again(one, Services(), Shelf(tmp_path / "whole", one, settings(greedy=True)), Asking())
    assert (again.changed, again.score) == (0, found.score)


def test_a_grader_that_fails_takes_no_verdict_that_was_given(tmp_path):
    run(tmp_path)
    kept, one = {path.name: path.read_bytes() for path in tmp_path.iterdir()}, held(never)
    with pytest.raises(GraderFailure):
        measure_again(one, Services(), Shelf(tmp_path, one, settings()), Asking())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_reply_that_stands_there_twice_is_counted_for_no_other(tmp_path):
    run(tmp_path)
    path = tmp_path / "toy.samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[0:1], *lines[2:]]))
    with pytest.raises(InputError, match="too many"):
        run(tmp_path)
    path.write_text("".join([lines[0], lines[1].replace('"sample": 1', '"sample": 2'), *lines[2:]]))
    with pytest.raises(InputError, match="too many"):
        run(tmp_path)


def test_seconds_are_those_of_all_tries_that_drew_replies_and_of_nothing_else(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("cascade_rl.evals.suite.time.perf_counter", lambda: float(next(clock)))
    with pytest.raises(ConnectionError):
        run(tmp_path, Sampler(3))
    lines = [json.loads(line) for line in (tmp_path / "toy.samples.jsonl").read_text().splitlines()]
    first = max(line["seconds"] for line in lines)
    assert first > 0
    found = run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "toy.samples.jsonl").read_text().splitlines()]
    # the second try goes on where the first one's clock stood
    assert sum(line["seconds"] > first for line in lines) == 12 - found.kept > 0
    assert found.seconds > max(line["seconds"] for line in lines)
    one = held()
    assert run(tmp_path).seconds == found.seconds
    assert measure_again(one, Services(), Shelf(tmp_path, one, settings()), Asking()).seconds == found.seconds


def test_a_damaged_file_is_named(tmp_path):
    run(tmp_path)
    path = tmp_path / "toy.samples.jsonl"
    path.write_text(path.read_text().replace('"reward"', '"rewards"', 1))
    with pytest.raises(InputError, match=r"samples.jsonl:1 is no stored sample: it has no 'reward'"):
        run(tmp_path)


# ---------------------------------------------------------------- the suite on a model


def test_changes_to_the_protocol_are_for_all_or_for_one():
    ifeval, aime = suite_specs(["ifeval", "aime24"], ["problems=5", "aime24.k=8", "temperature=1.0"])
    assert (ifeval.problems, ifeval.k, ifeval.mode, ifeval.temperature) == (5, 8, Mode.INSTRUCT, 1.0)
    assert (aime.problems, aime.k, aime.max_response_tokens, aime.greedy) == (5, 8, 65_536, False)
    with pytest.raises(RecipeError) as told:
        suite_specs(["ifeval"], ["aime24.k=8", "k=x", "nonsense=1"], {"aime25": "jsonl:x"})
    text = str(told.value)
    assert (
        "no benchmark 'aime24'" in text
        and "ifeval.k" in text
        and "nonsense" in text
        and "--data aime25" in text
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = DecoderConfig.from_hf(raw_config())
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    export(folder, raw_config(), config, random_flat(config, 0, 0.1), tokenizer())
    return folder


def test_other_words_under_the_same_weights_are_another_model(tmp_path, checkpoint):
    """A template or a RoPE that was changed in place: replies of both would stand in one folder."""
    told = Told(QuietScreen())
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    specs = suite_specs(["aime24"], ["k=1", "max_response_tokens=4"], {"aime24": rows(tmp_path)})
    list(measure_suite(str(model), specs, tmp_path / "out", told))
    (model / "README.md").write_text("other words")
    (again,) = measure_suite(str(model), specs, tmp_path / "out", told)
    assert again.kept == again.samples
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.01}))
    with pytest.raises(InputError, match=r"drawn otherwise .*weights"):
        list(measure_suite(str(model), specs, tmp_path / "out", told))


def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"jsonl:{path}"


def test_a_checkpoint_is_measured_twice_alike_and_regraded(tmp_path, checkpoint):
    told = Told(QuietScreen())
    specs = suite_specs(["aime24"], ["k=2", "max_response_tokens=12"], {"aime24": rows(tmp_path)})
    (first,) = measure_suite(str(checkpoint), specs, tmp_path / "a", told)
    (second,) = measure_suite(str(checkpoint), specs, tmp_path / "b", told)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert (first.samples, first.kept) == (10, 0) and first.score == second.score
    kept = files(tmp_path / "a")
    (again,) = measure_suite(str(checkpoint), specs, tmp_path / "a", told)
    assert again.kept == 10 and files(tmp_path / "a") == kept
    (judged,) = regrade_suite(tmp_path / "a", [], told)
    assert judged.changed == 0 and files(tmp_path / "a") == kept
    with pytest.raises(InputError, match="no replies to ifeval; there are aime24"):
        list(regrade_suite(tmp_path / "a", ["ifeval"], told))


def test_two_commands_never_write_into_one_folder(tmp_path, checkpoint):
    specs = suite_specs(["aime24"], ["k=1", "max_response_tokens=4"], {"aime24": rows(tmp_path)})
    every = measure_suite(str(checkpoint), specs, tmp_path / "a", Told(QuietScreen()))
    with RunLock(tmp_path / "a"), pytest.raises(RunBusy, match="in use by process"):
        next(every)
    (found,) = measure_suite(str(checkpoint), specs, tmp_path / "a", Told(QuietScreen()))
    assert found.samples == 5
    with RunLock(tmp_path / "a"), pytest.raises(RunBusy):
        list(regrade_suite(tmp_path / "a", [], Told(QuietScreen())))


def test_what_a_model_has_no_room_for_is_cut_aloud(tmp_path, checkpoint):
    from cascade_rl.data.suites import suite_heldout

    notes = []
    (spec,) = suite_specs(["aime24"], [], {"aime24": rows(tmp_path)})
    engine, (one,) = fitted_to([suite_heldout(spec)], checkpoint, Machine(device="cpu"), notes.append)
    assert one.spec.max_response_tokens < 512 and engine.yarn == 1.0
    assert notes == [
        f"aime24: replies have {one.spec.max_response_tokens} tokens at most, not 65536: the model has 512 positions"
    ]
    # where doubling brings what is asked for, the protocol's YaRN does
    (spec,) = suite_specs(["aime24"], ["max_response_tokens=600"], {"aime24": rows(tmp_path)})
    engine, (one,) = fitted_to([suite_heldout(spec)], checkpoint, Machine(device="cpu"), notes.append)
    assert engine.yarn == 2.0 and one.spec.max_response_tokens == 600
