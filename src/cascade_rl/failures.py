"""The errors that a user can mend: they are shown as a message, anything else as a traceback."""

from __future__ import annotations


def expected_failures() -> tuple[type[BaseException], ...]:
    """Exception types whose message is meant for the user; heavy modules are asked only if they were imported."""
    import sys

    found: list[type[BaseException]] = [ValueError, OSError]
    for module, names in (
        ("cascade_rl.train.loop", ("StageError",)),
        ("cascade_rl.ledger", ("RunBusy", "RecipeChanged")),
        ("cascade_rl.cascade", ("GateClosed",)),
        ("cascade_rl.model.replicas", ("WorkerError",)),
        ("cascade_rl.sandbox.levels", ("SandboxUnavailable",)),
        ("cascade_rl.evals.benchmark", ("GraderFailure",)),
    ):
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)
