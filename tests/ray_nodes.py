"""What runs on the nodes of tests/test_ray.py: a node that its environment makes weaker or other than it is."""

import os
import time
from pathlib import Path

from cascade_rl.grading.on_node import Node
from cascade_rl.remote.ray_wire import from_bytes, to_bytes
from cascade_rl.sandbox.pool import ZygoteSandbox

LEVEL, OTHER = "CASCADE_TEST_LEVEL", "CASCADE_TEST_OTHER"


class PlacedNode(Node):
    """A node whose sandbox stands at the level LEVEL, and which says that it has the package OTHER."""

    def __init__(self, options):
        super().__init__(options)
        if level := os.environ.get(LEVEL):
            self._sandbox = ZygoteSandbox(1, level=level)

    async def hello(self):
        said = from_bytes(await super().hello())
        if name := os.environ.get(OTHER):
            said["likeness"][name] = "0.0.1"
        return to_bytes(said)


def count(folder, number, seconds=0.05):
    """Leave a file for each time that this is called, named by the number and the node's zygote."""
    time.sleep(seconds)
    mark = f"{number}-{os.getppid()}"
    again = len(list(Path(folder).glob(f"{mark}-*")))
    (Path(folder) / f"{mark}-{again}").touch()
    return number * number
