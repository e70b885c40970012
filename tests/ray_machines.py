"""A Ray cluster in a process of its own, for tests: Ray takes the signals and the exit of the process that makes one.

Prints its address; each line of standard input is the environment of a node to add, in JSON, and is answered with a
line. Ends with its standard input.
"""

import json
import sys

from ray.cluster_utils import Cluster

SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def main() -> None:
    # the head has no processor, as the machine of a trainer
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    print(cluster.address, flush=True)
    for line in sys.stdin:
        cluster.add_node(num_cpus=1, env_vars=json.loads(line), **SMALL)
        print("added", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
