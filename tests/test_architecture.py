"""The shape of the code: imports point downward, no room grows without notice, nothing is compressed to fit."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from docs.floors import FLOOR, FLOORS, ROOT, arrows, modules, room

FILES = sorted(ROOT.rglob("*.py"))
MOST_ROOMS = 29  # at the top of the package: what a newcomer can take in at a glance
# Imports of one module from the package; a module that needs more does more than one thing.
MOST_IMPORTS = 15
MANY_IMPORTS: dict[str, tuple[int, str]] = {}
MOST_COLUMNS = 110
# The rooms that compute with weights; all others load in a moment, where no torch is installed, too.
HEAVY = {"model", "rollout", "train", "serve", "backends", "plan", "cascade", "doctor", "proposal"}
# Classes over 150 lines, with the most they may have, and why.
LONG_CLASSES: dict[str, tuple[int, str]] = {}
# Files with tables of data that are read more easily as they are than as the formatter would lay them out.
TABLES: dict[str, str] = {}
# Files over 400 lines, with the most they may have, and why.
LONG_FILES: dict[str, tuple[int, str]] = {}
# Places that catch everything, and why that hides nothing.
CATCH_ALL = {
    (
        "backends/verl/grader.py",
        "_answered",
    ): "whatever grading raises is answered as a refusal: whoever asked would wait for ever",
    (
        "verify/programs/calls_inside.py",
        "main",
    ): "what a candidate's call raises is its result; runs in its process",
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
        "backends/verl/inside/check.py",
        "part",
    ): "whatever verl raises at a part of a job is a problem of it, listed with the others",
    (
        "model/tokenizer.py",
        "opened",
    ): "the tokenizers library raises bare Exceptions for a damaged file, whose text is kept",
    (
        "verify/maths/parse.py",
        "_by_parser",
    ): "the parser raises bare Exceptions; the text is unreadable, and says why",
    (
        "verify/maths/algebra.py",
        "_judge",
    ): "algebra raises anything; raised again if the gold alone does so, too",
    ("model/worker.py", "serve"): "a worker hands its traceback to the driver, which raises it",
    (
        "grading/verdicts.py",
        "_once",
    ): "a grader's fault becomes a null verdict with its type and message: counted, never a zero",
    (
        "grading/on_node.py",
        "_one",
    ): "whatever a service raises on a node is raised again where its answer is waited for",
    (
        "remote/ray_dealer.py",
        "main",
    ): "whatever Ray raises while nodes are looked for is told to the run, which ends with it",
    ("grading/file.py", "_read"): "the thread that reads hands it to the one that writes, who raises it",
    (
        "sandbox/inside/candidate.py",
        "_interpret",
    ): "whatever a program raises is its own fault: traceback, exit code 1",
    ("sandbox/inside/candidate.py", "_leave"): "likewise in its exit handlers",
    (
        "verify/suites/apart_inside.py",
        "answer",
    ): "whatever a candidate's function raises is what came out of the call",
    ("verify/programs/check_inside.py", "main"): "whatever a test raises is how it ended, and is said",
    ("verify/suites/apart_inside.py", "main"): "a result that can't be written is told as such",
    ("sandbox/pool.py", "_answer"): "handed to the caller that waits, who raises it",
    (
        "run/tracking/follower.py",
        "main",
    ): "whatever a tracker's package raises is said, recorded and ends its process; the run goes on",
    (
        "backends/verl/inside/asking.py",
        "_answer_score",
    ): "why a served reward model gave no score goes to the grader, whose verdict is then null",
    ("serve/batches.py", "_decode"): "handed to every client that waits, who is answered with an error",
    ("train/learned_reward.py", "_flush"): "handed to every caller that waits, who raises it",
}


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_room_stands_on_a_floor():
    assert {room(p) for p in FILES} - {"__init__"} == set(FLOOR)
    assert len(FLOOR) == sum(map(len, FLOORS)), "a room stands on one floor only"
    assert len(FLOOR) <= MOST_ROOMS and len(FLOORS) == 8


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path):
    mine, others = room(path), {name.split(".")[0] for name in modules(path)}
    if mine == "__init__":
        assert not others
        return
    wrong = [other for other in others - {mine} if FLOOR[other] >= FLOOR[mine]]
    assert not wrong, f"{mine} (floor {FLOOR[mine]}) imports {', '.join(wrong)}"


def test_the_drawing_shows_what_the_test_holds():
    done = subprocess.run([sys.executable, "-m", "docs.floors"], capture_output=True, text=True, check=True,
                          cwd=ROOT.parent.parent)  # fmt: skip
    assert f"{len(FLOOR)} rooms on 8 floors, {len(arrows())} arrows, 0 upward" in done.stdout


def test_no_circle_of_modules():
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    graph = {name.removesuffix(".__init__"): modules(path) - {name} for path, name in names.items()}
    # the face of a room is made of its files: they may not go back to it
    list(TopologicalSorter(graph).static_order())


def units_under(name: str) -> set[str]:
    return {other.split(".")[0] for p in FILES if room(p) == name for other in modules(p)} - {name}


def test_training_never_sees_the_evaluation_and_the_report_reads_files_only():
    assert "evals" not in units_under("train")
    assert "train" not in units_under("evals")
    assert units_under("report") <= {"types", "chat", "run", "scores", "recipe", "errors"}


def test_whatever_computes_no_weights_loads_without_torch():
    dotted = (
        ".".join(p.relative_to(ROOT.parent).with_suffix("").parts)
        for p in FILES
        if room(p) not in HEAVY and p.stem != "__main__"
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


def imports_of_the_package(path: Path) -> int:
    nodes = ast.walk(ast.parse(path.read_text()))
    return sum(isinstance(n, ast.ImportFrom) and (n.module or "").startswith("cascade_rl") for n in nodes)


def test_no_module_knows_too_many_others():
    counts = {str(p.relative_to(ROOT)): imports_of_the_package(p) for p in FILES}
    assert not {name: n for name, n in counts.items() if n > MANY_IMPORTS.get(name, (MOST_IMPORTS, ""))[0]}
    assert set(MANY_IMPORTS) <= set(counts)


def test_no_class_over_150_lines_but_those_that_say_why():
    sizes = {
        f"{p.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for p in FILES
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert not {name: n for name, n in sizes.items() if n > LONG_CLASSES.get(name, (150, ""))[0]}
    assert set(LONG_CLASSES) <= set(sizes)


def test_no_line_is_too_long():
    assert not [f"{p.relative_to(ROOT)}:{number}" for p in FILES
                for number, line in enumerate(p.read_text().splitlines(), 1) if len(line) > MOST_COLUMNS]  # fmt: skip


def skipped(path: Path) -> list[ast.stmt]:
    """The statements that the formatter is told to leave as they are."""
    text = path.read_text()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        token.start[0] for token in tokens if token.type == tokenize.COMMENT and "fmt: skip" in token.string
    }
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt)]
    return [next(n for n in nodes if n.end_lineno == line) for line in lines]


def test_only_tables_of_data_are_kept_from_the_formatter():
    """A table is a value with a name: whatever computes is divided, not compressed."""
    wrong = [
        f"{p.relative_to(ROOT)}:{node.lineno}"
        for p in FILES
        for node in skipped(p)
        if not isinstance(node, ast.Assign | ast.AnnAssign)
        or any(
            isinstance(part, ast.Await | ast.GeneratorExp | ast.ListComp | ast.Lambda)
            for part in ast.walk(node.value)
        )
    ]
    assert not wrong


def attributes_of(node: ast.AST) -> set[str]:
    """Names that a node assigns on `self`."""
    targets = [t for n in ast.walk(node) if isinstance(n, ast.Assign | ast.AnnAssign | ast.AugAssign)
               for t in (n.targets if isinstance(n, ast.Assign) else [n.target])]  # fmt: skip
    flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return {t.attr for t in flat if isinstance(t, ast.Attribute)
            and isinstance(t.value, ast.Name) and t.value.id == "self"}  # fmt: skip


def test_no_attribute_appears_outside_its_declaration():
    wrong = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            declared = {
                n.target.id
                for n in node.body
                if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
            }
            made = [
                n
                for n in node.body
                if isinstance(n, ast.FunctionDef) and n.name in ("__init__", "__post_init__")
            ]
            declared |= set().union(*map(attributes_of, made))
            wrong += [
                f"{path.relative_to(ROOT)}:{node.name}.{name}" for name in attributes_of(node) - declared
            ]
    assert not wrong
