"""The cascade: stages in order, each resumed at its first unfinished step, evaluated, judged and exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from cascade_rl import chat
from cascade_rl.data.gather import gather_materials
from cascade_rl.data.pairs import sampled_pairs
from cascade_rl.domain import Benchmark, Services
from cascade_rl.errors import GateClosed, Interrupted, StageError
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.grading.proof import preflight
from cascade_rl.grading.services import open_services, standing, with_judge
from cascade_rl.model.base import choose_device, make_base
from cascade_rl.model.checkpoint import load_directory, load_reward_directory, weights_hash
from cascade_rl.model.export import export
from cascade_rl.model.peaks import Peaks, measure_peaks
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe import Recipe, Stage, digest
from cascade_rl.report.card import Card, write_card
from cascade_rl.rollout.open import open_sampler
from cascade_rl.run.files import read_json, write_json
from cascade_rl.run.folder import RunLock, stage_folder, stage_folders
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.run.ledger import Ledger, admit, stage_key
from cascade_rl.sandbox.levels import LEVELS
from cascade_rl.scores.as_json import from_json, gate_to_json, matrix_to_json, scorecard_to_json, to_json
from cascade_rl.scores.gate import decide
from cascade_rl.scores.matrix import matrix
from cascade_rl.train.learned_reward import LearnedReward
from cascade_rl.train.loop import Probe, StageRun
from cascade_rl.train.reward_model import pair_accuracy, train_reward_model
from cascade_rl.train.rl import train_rl
from cascade_rl.train.sft import train_sft
from cascade_rl.types import Checkpoint, Demonstration, Problem, Scorecard, StepReport


class Screen(Protocol):
    """Who is told how a run goes (see `screen.py`)."""

    def stage(self, name: str, index: int, count: int) -> None: ...
    def step(self, report: StepReport, total: int, phase: str) -> None: ...
    def waiting(self, what: str) -> None: ...
    def note(self, text: str) -> None: ...
    def scores(self, found: Mapping[str, Any], verdicts: Mapping[tuple[str, str], str]) -> None: ...


@dataclass
class Cascade:
    """One run of a recipe in one directory."""

    recipe: Recipe
    run: Path
    screen: Screen
    stop_asked: Callable[[], bool] = lambda: False
    accept_changes: bool = False
    unsafe_exec: bool = False
    replicas: Replicas = field(init=False)
    services: Services = field(init=False)
    cards: list[Scorecard] = field(init=False, default_factory=list)
    seconds: dict[str, float] = field(init=False, default_factory=dict)
    verdicts: dict[tuple[str, str], str] = field(init=False, default_factory=dict)
    peaks: Peaks | None = field(init=False, default=None)

    def execute(self) -> dict[str, Any]:
        """Run everything that is not done yet; returns the content of matrix.json.

        Raises StageError, RunBusy, RecipeChanged, GateClosed or Interrupted, with what to do in the message.
        """
        lock = RunLock(self.run)
        try:
            admit(self.run, self.recipe, self.accept_changes)
            self.screen.waiting("data")
            self.materials = gather_materials(self.recipe)
            device, precision = choose_device(self.recipe)
            self.screen.waiting("model")
            needs = frozenset().union(*(domain.needs for domain in self.materials.domains.values()))
            with (
                open_services(needs, unsafe=self.unsafe_exec) as self.services,
                Replicas(self.recipe.workers, device, precision) as self.replicas,
            ):
                self._prepare(device, precision)
                for index, stage in enumerate(self.recipe.stages):
                    self._stage(index, stage)
            return self._matrix()
        finally:
            lock.release()

    def _prepare(self, device: str, precision: str) -> None:
        """Tokenizer, base model, sampler."""
        base, tokens = self.run / "base", self.run / "tokenizer"
        if not (base / "config.json").exists():
            make_base(self.recipe, self._texts(), base, tokens)
        self.tokenizer = load_tokenizer(tokens)
        self.raw, self.config, flat = load_directory(base)
        self.settings = {"workers": self.recipe.workers, "device": device, "precision": precision, "sampler": self.recipe.sampler,
                         "model": self.recipe.model.model_dump(mode="json"), "template": chat.template_hash()}  # fmt: skip
        self.replicas.add_model("policy", self.config, flat, train=True)
        self.sampler = open_sampler(self.recipe, self.replicas, self.tokenizer, base)
        if found := standing(self.services):
            self.screen.note(found.line)
        self.incoming, self.parent = weights_hash(flat), None
        self.ledger = Ledger(self.run)
        self._check_prompts()

    def _texts(self) -> list[str]:
        made = [
            d for stage in self.recipe.stages if stage.kind == "sft" for d in self.materials.data[stage.name]
        ]
        return [chat.render(d.problem.messages, d.problem.mode, reply=d.reply) for d in made]

    def _check_prompts(self) -> None:
        """Say before the first step which prompts are too long, not in the middle of a stage."""
        for stage in self.recipe.stages:
            if stage.kind != "rl":
                continue
            limit = min(phase.max_prompt_tokens for _, _, phase in stage.phases())
            pools = self.materials.data[stage.name]
            for pool in pools:
                long = [p for p in pool if len(self.tokenizer.prompt(p)) > limit]
                if len(long) == len(pool):
                    raise StageError(
                        f"{stage.name}: every prompt is longer than max_prompt_tokens: {limit}; raise it"
                    )
                if long:
                    self.screen.note(
                        f"{stage.name}: {len(long)} of {len(pool)} prompts over {limit} tokens are left out"
                    )
                    pool[:] = [p for p in pool if p not in long]

    def _stage(self, index: int, stage: Stage) -> None:
        folder = stage_folder(self.run, index, stage.name)
        key = stage_key(self.recipe, index, self.settings, self.materials.hashes[stage.name], self.incoming)
        self.screen.stage(stage.name, index, len(self.recipe.stages))
        entry = self.ledger.done(index, key)
        if entry is None:
            begin = time.perf_counter()
            entry = self._train(index, stage, folder, key)
            entry["seconds"] = time.perf_counter() - begin
        else:
            self.screen.note(f"{stage.name} is done: kept")
            self._load_finished(folder, entry)
        self._judge(index, stage, folder, entry)
        self.ledger.add(index, entry) if self.ledger.done(index, key) is None else None
        self.incoming, self.parent = entry["weights"], stage.name
        write_json(self.run / "matrix.json", self._matrix())
        self.screen.scores(self._matrix(), self.verdicts)
        gate = read_json(folder / "gate.json")
        if self.recipe.gate.policy == "stop" and not gate["passed"]:
            raise GateClosed(f"the gate is closed after {stage.name}: {'; '.join(gate['notes'])}; declare a dip or a waiver "
                             "in the recipe, or set gate.policy to warn")  # fmt: skip

    def _train(self, index: int, stage: Stage, folder: Path, key: str) -> dict[str, Any]:
        self._check_started(folder, key)
        record = self._record(stage, folder, key)
        self._preflight(stage, folder)
        self.peaks = self.peaks or measure_peaks(self.replicas, self.config)
        run = StageRun(
            folder, stage, self.recipe.seed, self.replicas, self.tokenizer, self.materials.domains, self.services,
            self.sampler, on_step=self.screen.step, on_note=self.screen.note, stop_asked=self.stop_asked,
            probe=self._probe(), smoke=self.recipe.smoke, peaks=self.peaks, base=str(self._parent_folder()),
        )  # fmt: skip
        try:
            step = self._dispatch(stage, run, folder, record)
        finally:
            run.close()
        flat = self.replicas.flat("policy")
        weights = weights_hash(flat)
        checkpoint = Checkpoint(str(folder.relative_to(self.run) / "checkpoint"), stage.name, step, self.parent,
                                self.recipe.hash, weights)  # fmt: skip
        record["lineage"] |= {"checkpoint": checkpoint.path, "step": step, "weights": weights}
        write_json(folder / "stage.json", record)
        self.screen.waiting("export")
        export(folder / "checkpoint", self.raw, self.config, flat, self.tokenizer)
        return {"stage": stage.name, "key": key, "weights": weights, "step": step, "checkpoint": checkpoint.path,
                "data": self.materials.hashes[stage.name], "parent": self.parent}  # fmt: skip

    def _check_started(self, folder: Path, key: str) -> None:
        """An unfinished stage goes on only if it was started with the same settings, data and weights."""
        before = read_json(folder / "stage.json")
        if before and before["key"] != key:
            raise StageError(
                f"{folder} was started with other settings, data or weights; --accept-changes does not cover a changed "
                "program or machine: move the directory away, or choose another --out"
            )
        level, then = self._sandbox_level(), before.get("sandbox") if before else None
        if level and then and LEVELS.index(level) > LEVELS.index(then):
            raise StageError(f"{folder} was started with the sandbox level {then}, and here it is {level}: rewards would not "
                             "be comparable; see `cascade doctor`")  # fmt: skip

    def _sandbox_level(self) -> str | None:
        found = standing(self.services)
        return found.level if found else None

    def _record(self, stage: Stage, folder: Path, key: str) -> dict[str, Any]:
        carried = "weights only; fresh optimiser, counters and generators"
        record = {
            "stage": stage.name, "kind": stage.kind, "key": key, "settings": stage.model_dump(mode="json", exclude_none=True),
            "carried": carried, "sandbox": self._sandbox_level(), "data": describe_data(self.materials.data[stage.name]),
            "lineage": {"run": self.recipe.name, "seed": self.recipe.seed, "parent": self.parent or "base",
                        "incoming_weights": self.incoming, "data": self.materials.hashes[stage.name],
                        "recipe": self.recipe.hash, **{k: v for k, v in self.settings.items() if k != "model"}},
        }  # fmt: skip
        write_json(folder / "stage.json", record)
        self.screen.note(f"carried into {stage.name}: {carried} ({self.parent or 'base'}, {self.incoming})")
        return record

    def _preflight(self, stage: Stage, folder: Path) -> None:
        """Check graders on the stage's own problems; quarantined RL problems leave the pool."""
        self.screen.waiting("pre-flight")
        reports = []
        for pool in problem_pools(stage, self.materials.data[stage.name]):
            domain = self.materials.domains[pool[0].domain]
            found = preflight(domain, pool[: self.recipe.preflight.problems], self.services)
            reports.append(found)
            if found.bad_share() > self.recipe.preflight.max_bad:
                problem, why = next(iter(found.quarantined.items()))
                raise StageError(f"{stage.name}: pre-flight failed on {len(found.quarantined)} of {found.tried} problems of "
                                 f"{domain.name}; the first is {problem}: {why}")  # fmt: skip
            if stage.kind == "rl":
                pool[:] = [p for p in pool if p.id not in found.quarantined]
        disjoint = "prompts of SFT, of each RL stage and of the benchmarks are disjoint"
        write_json(folder / "preflight.json", {"domains": [asdict(r) for r in reports], "disjoint": disjoint})

    def _probe(self) -> Probe | None:
        if not self.materials.probes:
            return None

        def score(step: int) -> dict[str, float]:
            self.screen.waiting("probe")
            found = {
                b.name: run_benchmark(b, self.sampler, self.services, ("probe",))
                for b in self.materials.probes
            }
            return {name: run.score.score.mean for name, run in found.items()}

        return Probe(self.recipe.gate.probe_every, score)

    def _dispatch(self, stage: Stage, run: StageRun, folder: Path, record: dict[str, Any]) -> int:
        data = self.materials.data[stage.name]
        if stage.kind == "sft":
            return train_sft(run, data)
        if stage.kind == "rl":
            if any("reward_model" in self.materials.domains[d.domain].needs for d in stage.data):
                self._serve_reward(self._reward_folder(stage))
                run.services = self.services
            run.services = with_judge(run.services, stage.judge) if stage.judge else run.services
            reference = stage.kl_coefficient > 0
            if reference:
                start = load_directory(self._parent_folder())[2]
                self.replicas.add_model("reference", self.config, start, train=False)
            try:
                return train_rl(run, data)
            finally:
                if reference:
                    self.replicas.drop_model("reference")
        return self._reward_model(run, folder, record, *data)

    def _parent_folder(self) -> Path:
        """The exported model that the current stage starts from."""
        entries = (
            self.ledger.entries[: [s.name for s in self.recipe.stages].index(self.parent) + 1]
            if self.parent
            else []
        )
        return self.run / entries[-1]["checkpoint"] if entries else self.run / "base"

    def _reward_model(self, run: StageRun, folder: Path, record: dict[str, Any], pairs, heldout) -> int:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        head = torch.randn(self.config.hidden, generator=generator) * 0.02
        start = torch.cat([self.replicas.flat("policy").detach().cpu(), head])
        extra = {"score": (1, self.config.hidden)}
        model = self.replicas.add_model("reward", self.config, start, train=True, extra=extra)
        run.model, run.probe = "reward", None
        if run.stage.pairs_from == "samples":
            self.screen.waiting("sampling pairs")
            domain = self.materials.domains[run.stage.domain]
            make = partial(
                sampled_pairs, run.stage, domain, sampler=self.sampler, services=self.services, seed=run.seed
            )
            pairs, heldout = make(pairs), make(heldout)
            record["data"].append(f"of the policy's own answers {len(pairs)} pairs differ by the rule")
        step = train_reward_model(run, pairs)
        reward = LearnedReward(self.replicas, self.tokenizer)
        accuracy = pair_accuracy(reward, heldout)
        record["heldout_pair_accuracy"] = accuracy
        record["data"].append(
            f"held-out pairs: {len(heldout)}, the chosen answer scores higher in {accuracy:.1%}"
        )
        self.screen.note(f"reward model: {accuracy:.1%} of {len(heldout)} held-out pairs are ranked right")
        flat = self.replicas.flat("reward")
        export(folder / "reward_model", self.raw, self.config, flat, self.tokenizer, model.shapes)
        self.replicas.drop_model("reward")
        return step

    def _reward_folder(self, stage: Stage) -> Path:
        """Where the reward model of an RL stage lies: the one it names, else the last one before it."""
        names = [s.name for s in self.recipe.stages]
        before = [s.name for s in self.recipe.stages[: names.index(stage.name)] if s.kind == "reward_model"]
        name = stage.reward_model or before[-1]
        return stage_folder(self.run, names.index(name), name)

    def _serve_reward(self, folder: Path) -> None:
        """Make an exported reward model the one that RLHF asks."""
        self.replicas.drop_model("reward")
        flat = load_reward_directory(folder / "reward_model", self.config)
        self.replicas.add_model(
            "reward", self.config, flat, train=False, extra={"score": (1, self.config.hidden)}
        )
        self.services = replace(self.services, reward_model=LearnedReward(self.replicas, self.tokenizer))

    def _load_finished(self, folder: Path, entry: Mapping[str, Any]) -> None:
        flat = load_directory(folder / "checkpoint")[2]
        if weights_hash(flat) != entry["weights"]:
            raise StageError(f"{folder / 'checkpoint'} is not what the ledger recorded (its weights' checksum differs); "
                             "restore it, or move the run directory away")  # fmt: skip
        self.replicas.load("policy", flat)

    def _judge(self, index: int, stage: Stage, folder: Path, entry: dict[str, Any]) -> None:
        """Scorecard, gate and card of a stage; benchmarks that are done already are read, not run."""
        begin = time.perf_counter()
        scores = {b.name: self._benchmark(b, folder, entry["weights"]) for b in self.materials.benchmarks}
        card = Scorecard(stage.name, scores)
        self.cards.append(card)
        names = [s.name for s in self.recipe.stages]
        result = decide(self.cards, names, self.recipe.gate)
        for cell in result.cells:
            if index and cell.before == names[index - 1]:
                self.verdicts[(stage.name, cell.benchmark)] = str(cell.verdict)
        write_json(folder / "scorecard.json", scorecard_to_json(card))
        write_json(folder / "gate.json", gate_to_json(result))
        if not result.passed:
            self.screen.note(f"gate after {stage.name}: {'; '.join(result.notes)}")
        if "seconds" in entry and self.ledger.done(index, entry["key"]) is None:
            entry["seconds"] += time.perf_counter() - begin
            entry["seconds"] = self._all_seconds(stage, folder, entry["seconds"], time.perf_counter() - begin)
        self.seconds[stage.name] = entry["seconds"]
        own = {b.name: self.recipe.own_stage(b) for b in self.recipe.benchmarks}
        facts = read_json(folder / "stage.json")
        write_card(folder / "checkpoint", Card(facts, self.cards, own, result))

    def _all_seconds(self, stage: Stage, folder: Path, here: float, evaluation: float) -> float:
        """Write the evaluation's time, and count what earlier, interrupted processes spent on the stage."""
        journal = Journal(folder / "timings.jsonl")
        journal.write({"step": stage.planned_steps,
                       "seconds": {"evaluation": evaluation}})  # fmt: skip
        journal.close()
        total = sum(sum(line["seconds"].values()) for line in read_lines(folder / "timings.jsonl"))
        return max(here, total)

    def _benchmark(self, benchmark: Benchmark, folder: Path, weights: str):
        key = digest([benchmark.spec.model_dump(mode="json"), weights, [p.id for p in benchmark.problems]])
        path = folder / "eval" / f"{benchmark.name}.json"
        found = read_json(path) or self._same_weights(benchmark.name, key)
        if found and found["key"] == key:
            if not path.exists():
                write_json(path, found)
            return from_json(found)[1]
        if self.stop_asked():
            raise Interrupted(f"stopped before the benchmark {benchmark.name} of {folder.name}")
        self.screen.waiting(f"evaluation: {benchmark.name}")
        run = run_benchmark(benchmark, self.sampler, self.services, ("evaluation",))
        if run.failed:
            self.screen.note(
                f"{benchmark.name}: {run.failed} of {run.verdicts} verdicts failed and count as wrong"
            )
        write_json(path, to_json(benchmark.name, run.score) | {"key": key, "failed": run.failed})
        return run.score

    def _same_weights(self, name: str, key: str) -> dict[str, Any] | None:
        """The result of an earlier stage whose weights are the same (a reward model leaves the policy as it is)."""
        for folder in stage_folders(self.run):
            found = read_json(folder.path / "eval" / f"{name}.json")
            if found and found["key"] == key:
                return found
        return None

    def _matrix(self) -> dict[str, Any]:
        own = {b.name: self.recipe.own_stage(b) for b in self.recipe.benchmarks}
        return matrix_to_json(matrix(self.cards, own, self.seconds))


def problem_pools(stage: Stage, data: Any) -> list[list[Problem]]:
    """The problems of a stage, a list for each domain."""
    if stage.kind == "rl":
        return data
    items = data if stage.kind == "sft" else data[0]
    pools: dict[str, dict[str, Problem]] = {}
    for item in items:
        pools.setdefault(item.problem.domain, {})[item.problem.id] = item.problem
    return [list(pool.values()) for pool in pools.values()]


def describe_data(data: Any) -> list[str]:
    """What a stage trains on, a line a domain."""
    if isinstance(data, tuple):
        return [f"{data[0][0].problem.domain}: {len(data[0])} preference pairs"]
    if data and isinstance(data[0], Demonstration):
        counts: dict[tuple[str, str], int] = {}
        for item in data:
            place = (item.problem.domain, str(item.problem.mode))
            counts[place] = counts.get(place, 0) + 1
        return [f"{domain}, {mode}: {count} demonstrations" for (domain, mode), count in counts.items()]
    return [f"{pool[0].domain}: {len(pool)} problems" for pool in data]
