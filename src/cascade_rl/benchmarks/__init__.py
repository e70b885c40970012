"""The published benchmarks: one file is one; see `Benchmark` in `cascade_rl.domain`. Here they are loaded.

A file holds where the rows are, how one becomes a problem, and the protocol; who grades is a domain. A file
of a user's own is loaded by its dotted module path (docs/benchmarks.md builds one).
"""

from __future__ import annotations

import importlib
import pkgutil

from cascade_rl.domain import Benchmark
from cascade_rl.errors import InputError, meant

# The rows of the report's tables (arXiv 2512.13607, evaluation), in their order; `--suite report`.
REPORT = (
    "mmlu", "mmlu_pro", "gpqa_diamond", "arena_hard_v1", "arena_hard_v2", "ifeval", "ifbench", "aime24",
    "aime25", "livecodebench_v5", "livecodebench_v6", "livecodebench_pro_25q1", "livecodebench_pro_25q2",
    "swe_bench_verified", "bfcl_v3",
)  # fmt: skip


def benchmark_names() -> list[str]:
    """The benchmarks that the package ships, by name: the report's in its order, then the others."""
    files = [m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg]
    return [name for name in REPORT if name in files] + sorted(set(files) - set(REPORT))


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of a shipped name (`aime24`) or of a dotted module path (`my_lab.olympiad`).

    Raises InputError naming the known ones, the one that may be meant first, when there is none, or when the
    module has no BENCHMARK.
    """
    known = benchmark_names()
    # `AIME-24` and `math-500` are what people type
    plain = {_plain(one): one for one in known}.get(_plain(name), name)
    # a dot tells a module path
    path = name if "." in name else f"cascade_rl.benchmarks.{plain}"
    if "." in name or plain in known:
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            # an import of the module's own that is missing is told as it is
            if not (error.name and (path == error.name or path.startswith(error.name + "."))):
                raise
            module = None
        found = getattr(module, "BENCHMARK", None)
        if isinstance(found, Benchmark):
            return found
        if module is not None:
            raise InputError(f"module {path} has no BENCHMARK; end it with `BENCHMARK = Benchmark(...)`")
    raise InputError(
        f"no benchmark {name!r}; {meant(plain, known)}known: {', '.join(known)}; or give the dotted path "
        "of a module with a BENCHMARK"
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def suite_names(text: str) -> list[str]:
    """The names in `report` or `ifeval,aime25`, each once; InputError as `load_benchmark`."""
    names: list[str] = []
    for part in [part.strip() for part in text.split(",") if part.strip()]:
        names += [name for name in REPORT if name in benchmark_names()] if part == "report" else [part]
    if not names:
        raise InputError(f"no benchmark is named; there are report, {', '.join(benchmark_names())}")
    found, unknown = dict[str, None](), []
    for name in names:
        try:
            found[load_benchmark(name).name] = None
        except InputError as error:
            unknown.append(str(error))
    if unknown:
        # the known ones once, behind the last
        firsts = [told.partition(" known: ")[0] for told in unknown[:-1]]
        raise InputError("\n".join([*firsts, unknown[-1]]))
    return list(found)
