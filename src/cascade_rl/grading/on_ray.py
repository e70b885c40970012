"""Open verifiers and a sandbox on a Ray cluster: what `--ray` means, beside those of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cascade_rl.grading.on_node import likeness
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.remote.ray_cluster import RayCluster, aloud, check_address
from cascade_rl.remote.ray_dealer import Told
from cascade_rl.remote.ray_services import RaySandbox, RayVerifiers
from cascade_rl.sandbox.levels import LEVELS

NODE = "cascade_rl.grading.on_node:Node"
PATIENCE_S = 120.0  # that calls wait while no node is there: one that starts anew needs less
# Verdicts under way for each worker of the cluster: they keep it and what lies ready for it busy.
SLOTS_A_WORKER = 4


def _widen(workers: int) -> None:
    grading_thread().widen(SLOTS_A_WORKER * workers)


@contextmanager
def opened_on_ray(
    address: str, needs: frozenset[str], workers: int | None, unsafe: bool, patience_s: float = PATIENCE_S
) -> Iterator[tuple[RaySandbox | None, RayVerifiers | None]]:
    """The sandbox and the verifiers of a cluster, as far as they are needed; its nodes' part ends with it.

    Raises InputError for an address that can't be one and without Ray, SandboxUnavailable, ClusterLost.
    """
    check_address(address)
    dealt = needs & {"sandbox", "verifiers"}
    if not dealt:
        aloud("nothing that is graded here needs a verifier or a sandbox: no node is used")
        yield None, None
        return
    told = Told(address, NODE, sorted(dealt), workers, unsafe, likeness(), LEVELS, patience_s)
    with RayCluster(told, joined=_widen) as cluster:
        yield (
            RaySandbox(cluster) if "sandbox" in dealt else None,
            RayVerifiers(cluster) if "verifiers" in dealt else None,
        )
