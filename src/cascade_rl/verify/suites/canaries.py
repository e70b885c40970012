"""Tests that must fail, mixed into tests that must pass: code that makes everything pass gives itself away.

A test file is laid out several times, under names beside its own. A watched test runs in several of the
copies: in one, drawn by lot, as it is; in the others another value stands in the place of what it expects,
and it must fail there. Values are written the same way on both sides, and neither names nor order nor values
tell the right one (`canary_values`). Each copy has its own module state; tests keep their names and order.

Where a test expects nothing that has others of its shape, its canary asserts the contrary (`canary_turns`),
or is the test with a false last word: who reads the file can tell that one, and `watched` counts it as none.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from cascade_rl.verify.suites.canary_parameters import ParameterSet, parameter_sets
from cascade_rl.verify.suites.canary_sites import EXCEPTIONS, Function, Site, expected_parameters, sites
from cascade_rl.verify.suites.canary_turns import Turn, turn
from cascade_rl.verify.suites.canary_values import another, neighbours
from cascade_rl.verify.suites.source_spans import Source

MOST = 12  # watched tests in a run: guessing which of two is right succeeds once in 4,096
# copies of such a test: in the first that is imported a patch may not have replaced anything yet
TOLD = 3
WEAK = 6  # tests in a file with a canary that can be told
# copies of a file by how many tests are watched in the run: fewer tests, more copies of each
COPIES = {1: 8, 2: 8, 3: 4, 4: 3, 5: 3}
DRAWS = 40  # tries to find one more value for a test


def split_id(node_id: str) -> tuple[str, list[str], str | None]:
    """A node id as file, names of classes and function, and parameters, None without."""
    head, bracket, rest = node_id.partition("[")
    path, *names = head.split("::")
    return path, names, rest.removesuffix("]") if bracket else None


def joined(path: str, names: Sequence[str], parameters: str | None) -> str:
    """The inverse of `split_id`."""
    return "::".join([path, *names]) + ("" if parameters is None else f"[{parameters}]")


@dataclass(slots=True)
class Watched:
    """A test with something to spoil.

    ids        the node ids that run with it
    other_ids  the ids that its canary with a new value has; None: the same
    form       what kind of test it is: in a class, with parameters, with fixtures
    site       where a value is expected; None: only the contrary can be asserted, or a last word added
    turn       the assertion that is turned then
    """

    ids: list[str]
    form: tuple[bool, ...]
    function: Function
    site: Site | None
    parameter: tuple[ParameterSet, str] | None = None
    turn: Turn | None = None
    values: dict[int, Any] = field(default_factory=dict)  # copy -> what stands at the site there
    right: int = 0  # the copy with the right value
    used: list[int] = field(default_factory=lambda: [0])

    @property
    def fair(self) -> bool:
        """Whether the canary can't be told without an answer."""
        return self.site is not None and self.site.fair

    def canary_ids(self, copy: int) -> list[str]:
        """The ids of the canary in a copy."""
        if self.parameter is None:
            return self.ids[:1]
        path, names, _ = split_id(self.ids[0])
        one, name = self.parameter
        return [joined(path, names, one.id(name, self.values[copy]))]


class SuiteFile:
    """A test file, and which of the named tests in it can be watched.

    Raises SyntaxError or ValueError when the file is no Python.
    """

    def __init__(self, path: str, text: str, ids: Sequence[str]) -> None:
        self.path, self.source = path, Source(text)
        self.asked = {node_id: node_id for node_id in ids}
        self.watchable: list[Watched] = []
        self.functions: dict[str, Function] = {}
        by_head: dict[str, list[str]] = {}
        for node_id in ids:
            by_head.setdefault(node_id.partition("[")[0], []).append(node_id)
        for head, members in by_head.items():
            function = self._function(head.split("::")[1:])
            if function is not None:
                self.functions[head] = function
                self._watch(function, members)
        self.pool = [site.value for site in self._all_sites()]

    def _function(self, names: Sequence[str]) -> Function | None:
        body: Sequence[ast.stmt] = self.source.tree.body
        found: ast.stmt | None = None
        for name in names:
            # the last definition of a name is the one that counts
            found = next(
                (
                    s
                    for s in reversed(body)
                    if isinstance(s, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and s.name == name
                ),
                None,
            )
            body = found.body if isinstance(found, ast.ClassDef) else []
        return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None

    def _watch(self, function: Function, ids: list[str]) -> None:
        path, names, _ = split_id(ids[0])
        sets = parameter_sets(function)
        own = {name for one in sets for name in one.nodes}
        arguments = {a.arg for a in [*function.args.posonlyargs, *function.args.args]} - {"self", *own}
        form = (len(names) > 1, any("[" in node_id for node_id in ids), bool(arguments))
        for node_id in ids:
            self.asked[node_id] = self._spelt(node_id, sets)
        asked = [self.asked[node_id] for node_id in ids]
        by_id = {joined(path, names, one.id()): one for one in sets}
        expected = sorted(expected_parameters(function, list(own)))
        if sets and expected and all(node_id in by_id for node_id in asked):
            for node_id in asked:
                one, name = by_id[node_id], expected[0]
                site = Site(one.nodes[name], one.values[name])
                self.watchable.append(Watched([node_id], form, function, site, (one, name)))
            return
        found = sites(function, frozenset(own))
        places: list[Site | None] = [site for site in found if site.fair and not self._commented(site)]
        self.watchable += [Watched(asked, form, function, place) for place in places or [None]]

    def _commented(self, site: Site) -> bool:
        """Whether a comment behind a value says what is right."""
        rest = self.source.rest_of_line(site.node)
        return "#" in rest and str(site.value) in rest.partition("#")[2]

    def _spelt(self, node_id: str, sets: Sequence[ParameterSet]) -> str:
        """The id as pytest spells it: logs double backslashes or write a newline out."""
        path, names, parameters = split_id(node_id)
        spelt = [one.id() for one in sets]
        if parameters is None or not spelt or parameters in spelt:
            return node_id
        alike = [one for one in spelt if _loose(one) == _loose(parameters)]
        return joined(path, names, alike[0]) if len(alike) == 1 else node_id

    def _all_sites(self) -> Iterator[Site]:
        """Everything that the file's tests expect, which shows what expected values look like here."""
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                sets = parameter_sets(node)
                own = frozenset(name for one in sets for name in one.nodes)
                yield from (site for site in sites(node, own) if not site.exception)
                for one in sets:
                    for name in expected_parameters(node, list(own)):
                        yield Site(one.nodes[name], one.values[name])

    def whole(self, test: Watched) -> Watched:
        """A test with all its sets of parameters, as they are: what is added to its body is added to all."""
        ids = [i for one in self.watchable if one.function is test.function for i in one.ids]
        return Watched(list(dict.fromkeys(ids)), test.form, test.function, None)

    def line(self, node_id: str) -> int:
        """Where a test stands in the file; those that are not found come last."""
        function = self.functions.get(node_id.partition("[")[0])
        return function.lineno if function else 1 << 30


def _loose(parameters: str) -> str:
    return re.sub(r"\\+", r"\\", parameters.encode("unicode_escape").decode("ascii"))


def choose(files: Sequence[SuiteFile], first: frozenset[str], rng: random.Random) -> list[Watched]:
    """Which tests are watched with a value: of every form in turn, those of `first` before the others."""
    one_each: dict[tuple[str, ...], list[Watched]] = {}
    for file in files:
        for test in file.watchable:
            if test.fair:
                one_each.setdefault(tuple(test.ids), []).append(test)
    # one place of each test, drawn: its other places stay as they are
    drawn = [rng.choice(places) for places in one_each.values()]
    rng.shuffle(drawn)
    drawn.sort(key=lambda test: first.isdisjoint(test.ids))
    rank: dict[tuple[bool, ...], int] = {}
    order: list[tuple[int, int]] = []
    for test in drawn:
        order.append((rank.get(test.form, 0), len(order)))
        rank[test.form] = order[-1][0] + 1
    return [drawn[i] for _, i in sorted(order)[:MOST]]


@dataclass(frozen=True, slots=True)
class MixedFile:
    """A test file in copies.

    texts     by path
    real      node ids to be run, by the ids that were asked
    canaries  node ids that must fail
    told      those of them that who reads the file can tell
    rank      where each node id comes among those of its file: a canary where its test does
    """

    texts: dict[str, str]
    real: dict[str, str]
    canaries: tuple[str, ...]
    told: frozenset[str]
    rank: dict[str, tuple[int, int]]


def mix(
    file: SuiteFile,
    chosen: Sequence[Watched],
    copies: int,
    rng: random.Random,
    first: frozenset[str] = frozenset(),
) -> MixedFile:
    """Copies of a file in which the chosen tests have canaries, and some others one that can be told.

    These are tests of forms that have nothing better, and those of `first` that are not watched.
    """
    mine = [test for test in chosen if any(test is one for one in file.watchable)]
    for test in mine:
        _draw(test, copies, file.pool, rng)
    # a tolerance may leave no other value
    mine = [test for test in mine if len(test.values) > 1]
    worded = _told(file, mine, rng, first) if copies > 1 else []
    used = sorted({0, *(copy for test in [*mine, *worded] for copy in test.used)})
    places = {copy: _beside(file.path, copy, rng) for copy in used}
    texts = {places[copy]: _copy(file, copy, mine, worded, rng) for copy in used}
    return _named(file, places, texts, [*mine, *worded], worded)


def _told(
    file: SuiteFile, mine: Sequence[Watched], rng: random.Random, first: frozenset[str]
) -> list[Watched]:
    """Tests whose canaries can be told: one of each form that has nothing better, and all of `first`."""
    better, taken = {test.form for test in mine}, {test.function for test in mine}
    free = [test for test in file.watchable if test.function not in taken]
    rng.shuffle(free)
    free.sort(key=lambda test: first.isdisjoint(test.ids))
    found: list[Watched] = []
    for test in free:
        if test.function in taken or (test.form in better and first.isdisjoint(test.ids)):
            continue
        whole = file.whole(test)
        whole.turn = turn(test.function, rng)
        if whole.turn is not None or _has_room(test.function):
            better.add(test.form)
            taken.add(test.function)
            whole.used, whole.right = list(range(TOLD)), rng.randrange(TOLD)
            found.append(whole)
    return found[:WEAK]


def _named(
    file: SuiteFile,
    places: Mapping[int, str],
    texts: dict[str, str],
    tests: Sequence[Watched],
    worded: Sequence[Watched],
) -> MixedFile:
    """Which test runs where."""

    def at(node_id: str, copy: int) -> str:
        return places[copy] + node_id[len(file.path) :]

    right = {node_id: test.right for test in tests for node_id in test.ids}
    real = {asked: at(spelt, right.get(spelt, 0)) for asked, spelt in file.asked.items()}
    place = {spelt: (file.line(spelt), i) for i, spelt in enumerate(file.asked.values())}
    rank = {real[asked]: place[spelt] for asked, spelt in file.asked.items()}
    canaries: list[str] = []
    told: set[str] = set()
    for test in tests:
        for copy in test.used:
            if copy != test.right:
                new = [at(node_id, copy) for node_id in test.canary_ids(copy)]
                canaries += new
                rank |= dict.fromkeys(new, place[test.ids[0]])
                if any(test is one for one in worded):
                    told.update(new)
    return MixedFile(texts, real, tuple(canaries), frozenset(told), rank)


def _beside(path: str, copy: int, rng: random.Random) -> str:
    """A path in the same folder, whose name ends as the file's does."""
    if not copy:
        return path
    place = PurePosixPath(path)
    return str(place.with_name(f"{rng.choice('abcdef')}{rng.getrandbits(28):07x}_{place.name}"))


def _draw(test: Watched, copies: int, pool: Sequence[Any], rng: random.Random) -> None:
    """Different values for the copies, the right one among them at a place drawn by lot."""
    assert test.site is not None
    values = [test.site.value]
    taken = {_written(test, values[0])}
    sister_ids = _sisters(test)
    near = [] if test.site.exception else neighbours(values[0], copies, rng, pool)
    for _ in range(DRAWS):
        if len(values) == copies:
            break
        new = near.pop() if near else _other(test.site, rng, pool)
        written = _written(test, new)
        if written in taken or new == test.site.value or not test.site.far(new):
            continue
        if test.parameter and test.parameter[0].id(test.parameter[1], new) in sister_ids:
            continue
        values.append(new)
        taken.add(written)
    # the file's own copy always: what other tests need of this one's doing is done there
    test.used = sorted([0, *rng.sample(range(1, copies), len(values) - 1)])
    right, *others = values
    test.right = rng.choice(test.used)
    rest = iter(others)
    test.values = {copy: right if copy == test.right else next(rest) for copy in test.used}


def _sisters(test: Watched) -> set[str]:
    """The ids of the other sets of a test's parameters, which no canary of it may have."""
    if test.parameter is None:
        return set()
    mine = test.parameter[0].index
    return {one.id() for one in parameter_sets(test.function) if one.index != mine}


def _other(site: Site, rng: random.Random, pool: Sequence[Any]) -> Any:
    if not site.exception:
        return another(site.value, rng, pool)
    return rng.choices(list(EXCEPTIONS), list(EXCEPTIONS.values()))[0]


def _written(test: Watched, value: Any) -> str:
    return str(value) if test.site is not None and test.site.exception else repr(value)


def _has_room(function: Function) -> bool:
    """A body on the line of its `def` has no place for another statement."""
    return function.lineno != function.body[0].lineno


def _copy(
    file: SuiteFile, copy: int, mine: Sequence[Watched], worded: Sequence[Watched], rng: random.Random
) -> str:
    """The text of one copy; what does not run in it shows any of its values."""
    source = file.source
    changes = []
    for test in mine:
        assert test.site is not None
        value = test.values[copy] if copy in test.values else rng.choice(list(test.values.values()))
        changes.append((*source.span(test.site.node), _written(test, value)))
    for test in worded:
        if copy not in test.used or copy == test.right:
            continue
        if test.turn is not None:
            node, text = test.turn
            changes.append((*source.span(node), text))
        else:
            end = source.span(test.function)[1]
            indent = " " * test.function.body[-1].col_offset
            changes.append((end, end, f"\n{indent}assert [{rng.randint(1, 9)}] == []"))
    text = source.changed(changes)
    ast.parse(text.removeprefix("\ufeff"))
    return text
