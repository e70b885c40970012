"""Rows of published benchmarks found and read: packages and hub alike, samples, what is missing, recipes."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from fake_data_hub import served

from cascade_rl.benchmarks import benchmark_names, load_benchmark
from cascade_rl.benchmarks.shapes import archives
from cascade_rl.data.disjoint import overlaps
from cascade_rl.data.suites import fill_suites, protocol, suite_heldout
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.sources import maps
from cascade_rl.sources.code_tests import humaneval
from cascade_rl.sources.rows import problem_of
from cascade_rl.types import Message

pytest.importorskip("datasets")

# of each hub set: the file of its split, its config, a row as it stands there, and the same problem as the
# benchmark's package has it (None where no package does)
CHOICES = {"question": "Which is cold?", "options": "A. ice\nB. fire\nC. tea\nD. sun", "answer": "B. fire"}
HUB = {
    "mmlu": (
        "all/test",
        {"question": "Which is cold?", "subject": "x", "choices": ["ice", "fire", "tea", "sun"], "answer": 1},
        CHOICES,
    ),
    "mmlu_pro": (
        "test",
        {
            "question_id": 7,
            "question": "Which is cold?",
            "options": ["ice", "fire"],
            "answer": "A",
            "answer_index": 0,
            "category": "physics",
        },
        None,
    ),
    "gpqa_diamond": (
        "gpqa_diamond/train",
        {**load_benchmark("gpqa_diamond").example, "Canary String": "none", "Writer's Difficulty": None},
        None,
    ),
    "ifeval": (
        "train",
        {
            "key": 12,
            "prompt": "Say hi.",
            "instruction_id_list": ["keywords:existence", "punctuation:no_comma"],
            "kwargs": [{"keywords": ["hi"], "num_words": None}, {"keywords": None, "num_words": None}],
        },
        {
            "key": 12,
            "prompt": "Say hi.",
            "instruction_id_list": ["keywords:existence", "punctuation:no_comma"],
            "kwargs": [{"keywords": ["hi"]}, {}],
        },
    ),
    "ifbench": (
        "train",
        {
            "key": "5",
            "prompt": "Say and.",
            "instruction_id_list": ["count:conjunctions"],
            "kwargs": [{"small_n": 1, "N": None}],
        },
        {
            "key": "5",
            "prompt": "Say and.",
            "instruction_id_list": ["count:conjunctions"],
            "kwargs": [{"small_n": 1}],
        },
    ),
    "aime24": (
        "train",
        {"ID": "2024-I-1", "Problem": "Find $2+2$.", "Solution": "...", "Answer": 4},
        {"question": "Find $2+2$.", "answer": "4", "data_source": "AIME2024", "gid": 311},
    ),
    "aime25": (
        "test",
        {"problem": "Find $2+2$.", "answer": "4", "id": "0"},
        {
            "id": "aime25-0",
            "question": "Find $2+2$.",
            "expected_answer": "4",
            "subset_for_metrics": "aime25",
        },
    ),
    "math500": (
        "test",
        {"problem": "Find $2+2$.", "solution": "...", "answer": "4", "subject": "Algebra", "level": 1},
        {"question": "Find $2+2$.", "answer": "4", "data_source": "MATH500", "gid": 3},
    ),
    "asdiv": (
        "asdiv/validation",
        {"body": "Ann has 3 pens.", "question": "How many?", "answer": "3 (pens)", "solution_type": "x"},
        {"passage": "Ann has 3 pens.", "question": "How many?", "answer": "3 pens"},
    ),
    "commonsense_qa": (
        "validation",
        {
            "id": "1afa",
            "question": "Where is milk?",
            "question_concept": "milk",
            "choices": {"label": ["A", "B", "C"], "text": ["oven", "fridge", "sea"]},
            "answerKey": "B",
        },
        {
            "question": "Where is milk?",
            "options": "\nA. oven\nB. fridge\nC. sea",
            "answer": "B. fridge",
        },
    ),
    "humaneval": ("test", load_benchmark("humaneval").example, load_benchmark("humaneval").example),
    "livecodebench_v5": ("release_v5/test", load_benchmark("livecodebench_v5").example, None),
    "livecodebench_v6": ("release_v6/test", load_benchmark("livecodebench_v6").example, None),
}
PRO = {"problem_id": "1A", "problem_title": "T", "difficulty": "Easy", "problem_statement": "Double it."}
VERIFIED = load_benchmark("swe_bench_verified").example
ASK = """
import json, sys
from cascade_rl.benchmarks import load_benchmark
from cascade_rl.data.suites import protocol, suite_heldout
from cascade_rl.errors import InputError
from cascade_rl.recipe.scoring import BenchmarkSpec

found = {}
for said in sys.argv[1:]:
    name, _, scheme = said.partition("=")
    benchmark = load_benchmark(name)
    raw = protocol(benchmark)
    if scheme:
        raw["source"] = next(s for s in benchmark.sources if s.startswith(scheme))
    try:
        problems = suite_heldout(BenchmarkSpec.model_validate(raw)).problems
        found[name] = [[p.id, [[m.role, m.content] for m in p.messages], p.answer] for p in problems]
    except InputError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
# as if no package with data were installed
WITHOUT = """
import sys
import datasets, httpx2  # whose own metadata they read
from importlib import metadata
def absent(name):
    raise metadata.PackageNotFoundError(name)
import huggingface_hub.hf_api
metadata.distribution = absent
metadata.packages_distributions = dict
sys.modules["reasoning_gym"] = None
"""


def asked(program: str, *names: str, endpoint: str, home: Path, offline: bool = False):
    env = os.environ | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": str(int(offline)),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", program, *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def card(config: str, split: str) -> bytes:
    where = f"data_files: [{{split: {split}, path: rows.jsonl}}]"
    return f"---\nconfigs:\n- config_name: {config}\n  {where}\n---\n".encode()


def put(hub, source: str, *rows) -> None:
    """Rows as the hub's set that a source names, at its revision."""
    repo, revision, config, split = re.fullmatch(
        r"hub:(.*)@(.*)#(?:(.*)/)?(.*)", source
    ).groups()  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files = {"README.md": card(config or "default", split), "rows.jsonl": lines}
    commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else hub.put(repo, revision, files)
    sets = hub.sets.setdefault(repo, {})
    sets[revision] = sets[commit] = (commit, {**sets.get(revision, ("", {}))[1], **files})


def archive(*tests: tuple[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as into:
        into.writestr("config.yaml", "type: default\n")
        into.writestr("checker.cpp", "int main() {}")
        for number, (given, wanted) in enumerate(tests, 1):
            into.writestr(f"testdata/{number}.in", given)
            into.writestr(f"testdata/{number}.ans", wanted)
    return made.getvalue()


def package_row(name: str):
    """What the package's row becomes, as the subprocess prints it."""
    benchmark = load_benchmark(name)
    row = HUB[name][2] or HUB[name][1]
    problem = problem_of(benchmark.problem(row), load_domain(benchmark.domain), name)
    return [problem.id, [[m.role, m.content] for m in problem.messages], problem.answer]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All hub sets read at their pinned revisions from a hub of this machine, and what it was asked."""
    with served() as hub:
        for name, (split, row, _) in HUB.items():
            source = next(s for s in load_benchmark(name).sources if s.startswith("hub:"))
            assert source.endswith(f"#{split}")
            # the two releases of LiveCodeBench are two configurations of one revision, here two hubs in turn
            if name != "livecodebench_v6":
                put(hub, source, row)
        quarter = load_benchmark("livecodebench_pro_25q1").sources[0]
        tests = [("2\n", "4\n")] + [(f"{n}\n", f"{2 * n}\n") for n in range(3, 13)]
        hard, lost = {**PRO, "problem_id": "1B", "difficulty": "hard"}, {**PRO, "problem_id": "1C"}
        put(hub, quarter, PRO, hard, lost)
        zips = {"1A.zip": archive(*tests)}
        hub.sets[archives.TESTS] = {archives.TESTS_AT: (archives.TESTS_AT, zips)}
        swe = sys.modules["cascade_rl.benchmarks.swe_bench_verified"]
        bare = {key: value for key, value in VERIFIED.items() if key != "files"}
        put(hub, swe.VERIFIED, bare)
        text = f"...\n[start of shapes.py]\n{VERIFIED['files']['shapes.py']}\n[end of shapes.py]\n..."
        put(hub, swe.ORACLE, {"instance_id": "other__1", "text": "no"}, {**bare, "text": text})
        names = [f"{name}=hub:" for name in HUB if name != "livecodebench_v6"]
        names += ["livecodebench_pro_25q1=hub:", "swe_bench_verified=hub:"]
        home = tmp_path_factory.mktemp("home")
        yield asked(ASK, *names, endpoint=hub.endpoint, home=home)


@pytest.mark.parametrize("name", [name for name in HUB if name != "livecodebench_v6"])
def test_a_row_of_the_hub_is_the_problem_that_the_package_has(found, name):
    assert found[name] == [package_row(name)], found[name]


def test_problems_of_livecodebench_pro_are_joined_with_their_archives(found):
    # the hard one is not asked, nor the one without an archive
    ((identity, messages, answer),) = found["livecodebench_pro_25q1"]
    assert identity.startswith("livecodebench_pro_25q1:1A:")
    assert messages[1] == ["user", "Double it."] and answer["language"] == "cpp"
    # by number: as texts 10 would come before 2
    assert [t["stdin"] for t in answer["tests"]] == [f"{n}\n" for n in range(2, 13)]
    assert all(t["stdout"] == f"{2 * int(t['stdin'])}\n" for t in answer["tests"])


def test_issues_of_swe_bench_are_joined_with_the_files_of_the_oracle(found):
    ((identity, messages, answer),) = found["swe_bench_verified"]
    assert identity.startswith("swe_bench_verified:lab__shapes-1:")
    assert answer["files"].keys() == {"shapes.py"} and "tests" not in answer
    assert "area adds the sides" in messages[0][1] and "[start of shapes.py]" in messages[0][1]


def test_what_is_missing_is_told_with_the_way_to_get_it(tmp_path):
    names = [n for n in benchmark_names() if not load_benchmark(n).judged]
    told = asked(WITHOUT + ASK, *names, endpoint="http://127.0.0.1:1", home=tmp_path, offline=True)
    for name in names:
        benchmark, message = load_benchmark(name), told[name]
        assert isinstance(message, str), f"{name}: found without any package"
        assert message.startswith(f"no data of {name} here:"), message
        assert f"--data {name}=" in message and benchmark.missing in message
        for source in benchmark.sources:
            if source.startswith("hub:"):
                repo, revision = re.match("hub:(.*)@(.*)#", source).groups()
                assert f"hf download --repo-type dataset {repo} --revision {revision}" in message
        packages = [
            s.removeprefix("package:").partition("/")[0] for s in benchmark.sources if "package:" in s
        ]
        # a package is named with its version, so that the rows are those that were counted
        assert not packages or any(f"{package}==" in message for package in packages)


def questions(count: int):
    return [
        {"question": f"What is {n} + {n}?", "choices": ["1", "2", "3", str(2 * n + 10)], "answer": 3}
        for n in range(count)
    ]


def drawn(path: Path, rows, **changes) -> set[str]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = protocol(load_benchmark("mmlu")) | {"source": f"jsonl:{path}", **changes}
    return {problem.id for problem in suite_heldout(BenchmarkSpec.model_validate(raw)).problems}


def test_a_sample_is_the_same_whatever_else_is_asked(tmp_path):
    rows, path = questions(300), tmp_path / "rows.jsonl"
    first = drawn(path, rows, problems=50)
    assert len(first) == 50
    turned = random.Random(0).sample(rows, len(rows))
    assert drawn(path, turned, problems=50) == first
    assert drawn(tmp_path / "other.jsonl", rows, problems=50, k=3, name="again", mode="instruct") == first
    # fewer are some of these, and rows that are added move no more than their share
    assert drawn(path, rows, problems=20) < first
    assert len(drawn(path, questions(330), problems=50) & first) >= 35
    assert len(drawn(path, rows, problems=300)) == 300


@pytest.mark.parametrize(
    "name", ["mmlu", "commonsense_qa", "humaneval", "aime24", "ifeval", "livecodebench_v5"]
)
def test_a_row_that_is_trained_on_is_found_whatever_words_the_benchmark_asks_it_in(name, tmp_path):
    """The same raw row through the domain's own map, as a user's file of training data brings it."""
    benchmark, row = load_benchmark(name), HUB[name][1]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    held = suite_heldout(BenchmarkSpec.model_validate(protocol(benchmark) | {"source": f"jsonl:{path}"}))
    trained = {
        "mmlu": maps.multiple_choice,
        "commonsense_qa": maps.multiple_choice,
        "humaneval": humaneval,
        "aime24": lambda r: {"prompt": maps.in_a_box(r["Problem"]), "answer": "4"},
        "ifeval": maps.ifeval,
        "livecodebench_v5": maps.livecodebench,
    }[name](row)
    pool = [problem_of(trained, load_domain(benchmark.domain), "own")]
    stage, data = SimpleNamespace(name="rl"), SimpleNamespace(pools=lambda: [pool])
    (told,) = overlaps([stage], {"rl": data}, [held])
    assert f"benchmark {name} and stage rl share 1 prompts" in told
    pool[0] = replace(pool[0], messages=(Message("user", "Something else."),))
    assert overlaps([stage], {"rl": data}, [held]) == []


def test_rows_that_say_the_same_are_asked_once_and_told(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*questions(3), *questions(2)]))
    raw = protocol(load_benchmark("mmlu")) | {"source": f"jsonl:{path}"}
    (tally,) = suite_heldout(BenchmarkSpec.model_validate(raw)).tallies
    assert (tally.read, tally.repeated, tally.kept) == (5, 2, 3)
    assert "3 problems, where the benchmark has 14042" in tally.line()


def test_bad_rows_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    bad = [{"question": "?", "choices": ["a", "b"], "answer": 7}, {"question": "?"}, *questions(1), {}, {}]
    path.write_text("".join(json.dumps(row) + "\n" for row in bad))
    raw = protocol(load_benchmark("mmlu")) | {"source": f"jsonl:{path}"}
    with pytest.raises(InputError) as caught:
        suite_heldout(BenchmarkSpec.model_validate(raw))
    told = str(caught.value)
    assert "row 1: answer: int 7 is none of the 2 options" in told and "row 2: want a column choices" in told
    assert "mmlu: 4 rows of" in told and "row 5" not in told
    path.write_text("{not json\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:1"):
        suite_heldout(BenchmarkSpec.model_validate(raw))
    path.write_text(json.dumps({**HUB["aime24"][2], "data_source": "CNMO"}) + "\n")
    with pytest.raises(InputError, match="hold none of its problems"):
        suite_heldout(
            BenchmarkSpec.model_validate(protocol(load_benchmark("aime24")) | {"source": raw["source"]})
        )


def test_a_recipe_names_benchmarks_and_keeps_what_it_says_itself():
    given = {
        "benchmarks": [
            {"suite": "aime24", "k": 4, "max_response_tokens": 256},
            {"name": "own", "domain": "maths"},
            {"suite": "aime42"},
            {"suite": "ifeval", "domain": "maths"},
            {"suite": "MATH-500", "name": "school", "source": "jsonl:rows.jsonl"},
        ]
    }
    filled, problems = fill_suites(given)
    first, own, school = filled["benchmarks"]
    assert (first["k"], first["max_response_tokens"], first["domain"]) == (4, 256, "maths")
    assert (first["problems"], first["temperature"], first["mode"]) == (30, 0.6, "thinking")
    assert own == {"name": "own", "domain": "maths"}
    assert (school["name"], school["source"], school["suite"]) == ("school", "jsonl:rows.jsonl", "MATH-500")
    told = dict(problems)
    assert "did you mean aime25 or aime24?" in told["benchmarks.2.suite"]
    assert "graded by following" in told["benchmarks.3.suite"]


def test_check_tells_of_a_recipe_what_is_wrong_with_its_suite(cascade, tmp_path):
    small = Path(__file__).parent / "faults" / "small.yaml"
    rows = tmp_path / "mine.jsonl"
    rows.write_text(json.dumps({"problem": "Find $2+2$.", "answer": "4"}) + "\n")
    recipe = yaml.safe_load(small.read_text())

    def check(*entries):
        path = tmp_path / "recipe.yaml"
        benchmarks = [*recipe["benchmarks"], *entries]
        path.write_text(yaml.safe_dump({**recipe, "benchmarks": benchmarks}))
        status, out, err = cascade("check", str(path))
        return status, " ".join((out + err).split())

    short = {"max_response_tokens": 32, "max_prompt_tokens": 64, "k": 2}
    status, told = check({"suite": "aime24", "source": f"jsonl:{rows}", **short})
    assert status == 0, told
    status, told = check({"suite": "amie24"}, {"suite": "ifeval", "domain": "maths"})
    assert status != 0 and "did you mean aime24" in told and "graded by following" in told
    status, told = check({"suite": "aime24", "source": "jsonl:nowhere.jsonl", **short})
    assert status != 0 and "nowhere.jsonl" in told and "no data of aime24 here" in told
