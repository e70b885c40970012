"""The shape of the code: imports point downward, the verifier's author needs no torch, nothing grows without notice."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import cascade_rl

ROOT = Path(cascade_rl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A module may import from lower floors and from its own room, without exception.
FLOORS = (
    ("types", "errors"),
    ("chat", "protocols", "recipe"),
    ("domain", "verify", "sandbox", "remote", "run", "scores", "testing"),
    ("sources", "grading", "model", "report"),
    ("domains", "rollout"),
    ("data", "train", "evals"),
    ("cascade", "doctor"),
    ("cli",),
)
ALLOWED = {}
# Files over 400 lines, with the most they may have, and why.
LONG_FILES: dict[str, tuple[int, str]] = {}
# Places that catch everything, and why that hides nothing.
CATCH_ALL = {
    (
        "sources/repairs/probe_inside.py",
        "outcome",
    ): "what a function of a package raises is recorded as its outcome",
    (
        "sources/repairs/probe_inside.py",
        "results",
    ): "an injected bug that keeps the file from loading has no outcomes",
    (
        "grading/verifier_worker.py",
        "_answer",
    ): "a worker hands whatever a verifier raises to the caller, as a fault",
    ("testing.py", "call"): "the same in the fake",
    (
        "verify/maths_algebra.py",
        "parse",
    ): "the parser raises bare Exceptions; the text is unreadable, and says why",
    (
        "verify/maths_algebra.py",
        "_judge",
    ): "algebra raises anything; raised again if the gold alone does so, too",
    ("model/worker.py", "serve"): "a worker hands its traceback to the driver, which raises it",
    (
        "grading/verdicts.py",
        "_once",
    ): "a grader's fault becomes a null verdict with its type and message: counted, never a zero",
    ("grading/file.py", "_read"): "the thread that reads hands it to the one that writes, who raises it",
    (
        "sandbox/inside/candidate.py",
        "_interpret",
    ): "whatever a program raises is its own fault: traceback, exit code 1",
    ("sandbox/inside/candidate.py", "_leave"): "likewise in its exit handlers",
    ("sandbox/pool.py", "_answer"): "handed to the caller that waits, who raises it",
    ("train/learned_reward.py", "_flush"): "handed to every caller that waits, who raises it",
}


def unit(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if name in names)


def imported(path: Path) -> set[str]:
    """Units of the package that a file imports anywhere, lazily too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("cascade_rl")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "cascade_rl":
                found |= {f"cascade_rl.{a.name}" for a in node.names}
            elif (node.module or "").startswith("cascade_rl."):
                found.add(node.module)
    return {name.split(".")[1] for name in found if "." in name} - {"__version__"}


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_stands_on_a_floor():
    units = {unit(p) for p in FILES} - {"__init__"}
    assert units == {name for names in FLOORS for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path):
    mine = unit(path)
    if mine == "__init__":
        assert not imported(path)
        return
    wrong = [
        other
        for other in imported(path) - {mine}
        if floor(other) >= floor(mine) and (mine, other) not in ALLOWED
    ]
    assert not wrong, f"{mine} (floor {floor(mine)}) imports {', '.join(wrong)}"


def units_under(name: str) -> set[str]:
    return set().union(*(imported(p) for p in FILES if unit(p) == name))


def test_training_never_sees_the_evaluation_and_the_report_reads_files_only():
    assert "evals" not in units_under("train")
    assert "train" not in units_under("evals")
    assert units_under("report") - {"report"} <= {
        "types",
        "chat",
        "run",
        "scores",
        "recipe",
        "errors",
        "__version__",
    }


def test_no_allowance_outlives_its_use():
    used = {(unit(p), other) for p in FILES for other in imported(p)}
    assert set(ALLOWED) <= used


def test_domains_verifiers_and_report_load_without_torch():
    light = (
        "domains",
        "verify",
        "report",
        "testing",
        "loading",
        "cli",
        "sandbox",
        "protocols",
        "verifiers",
        "judge_model",
    )
    dotted = (
        ".".join(p.relative_to(ROOT.parent).with_suffix("").parts)
        for p in FILES
        if unit(p) in light and p.stem != "__main__"
    )
    names = [name.removesuffix(".__init__") for name in dotted]
    code = (
        "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
        "print(*sorted({'torch', 'transformers', 'safetensors', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_rl_loop_can_be_read_aloud():
    path = ROOT / "train" / "rl.py"
    assert len(path.read_text().splitlines()) <= 250
    loop = next(f for f in functions(path) if f.name == "train")
    assert loop.end_lineno - loop.body[0].lineno + 1 <= 40


def test_no_function_over_60_lines():
    long = {f"{p.relative_to(ROOT)}:{f.name}": n for p in FILES for f in functions(p)
            if (n := f.end_lineno - f.lineno + 1) > 60}  # fmt: skip
    assert not long


def test_most_functions_are_short():
    sizes = sorted(f.end_lineno - f.lineno + 1 for p in FILES for f in functions(p))
    assert sizes[len(sizes) * 9 // 10] <= 35


def test_no_file_over_400_lines_but_those_that_say_why():
    sizes = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in FILES}
    assert not {name: n for name, n in sizes.items() if n > LONG_FILES.get(name, (400, ""))[0]}
    assert set(LONG_FILES) <= set(sizes)


def test_every_module_says_what_it_is_for():
    assert not [str(p.relative_to(ROOT)) for p in FILES if not ast.get_docstring(ast.parse(p.read_text()))]


def catch_alls():
    for path in FILES:
        for function in functions(path):
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and (
                    node.type is None
                    or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
                ):
                    yield str(path.relative_to(ROOT)), function.name


def test_faults_are_not_swallowed():
    assert set(catch_alls()) == set(CATCH_ALL)


def test_there_is_no_attic():
    assert not [
        p for p in FILES if p.stem in ("utils", "helpers", "helper", "misc", "common", "legacy", "manager")
    ]


def test_floors_name_each_unit_once():
    names = [name for row in FLOORS for name in row]
    assert len(names) == len(set(names))
    assert all(floor(a[0]) < floor(b[0]) for a, b in pairwise(FLOORS))
