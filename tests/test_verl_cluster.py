"""The files for clusters, each read by a strict reader of its own: options of sbatch, fields of KubeRay's RayJob."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade_rl.backends.verl.cluster import KubeRay, Slurm, Start, write_rayjob, write_slurm
from cascade_rl.backends.verl.job import Command
from cascade_rl.errors import InputError
from cascade_rl.recipe import Verl

WORDS = ["cascade", "run", "my recipe.yaml", "--note", "it's"]

# Long options of sbatch (Slurm 23.11, man page), with what each takes: these are the ones that we may write.
SBATCH: dict[str, str | None] = {
    "job-name": r"[\w-]+", "nodes": r"\d+(-\d+)?", "ntasks-per-node": r"\d+", "gpus-per-node": r"([\w.-]+:)?\d+",
    "exclusive": None, "time": r"(\d+-)?\d+:\d\d:\d\d", "output": r"\S+", "open-mode": "append|truncate", "requeue": None,
    "signal": r"((R|B)+:)?\w+(@\d{1,5})?", "partition": r"[\w,-]+", "account": r"[\w-]+", "constraint": r"\S+",
}  # fmt: skip


def make(folder: Path, nodes: int = 8, words: Sequence[str] = WORDS) -> Start:
    """A run on so many machines of eight GPUs."""
    place = folder / "runs"
    place.mkdir()
    return Start("Cascade_8B.thinking", place, Verl(nodes=nodes), tuple(words))


def sbatch_options(text: str) -> dict[str, str]:
    """The options of a batch script, as Slurm reads them: up to the first line that is no comment."""
    found = {}
    lines = iter(text.splitlines())
    assert next(lines).startswith("#!/")
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        if not line.startswith("#SBATCH"):
            continue
        [option] = shlex.split(line.removeprefix("#SBATCH"))
        name, equals, value = option.removeprefix("--").partition("=")
        assert option.startswith("--") and name in SBATCH and name not in found, line
        wanted = SBATCH[name]
        assert (wanted is None) == (not equals) and (wanted is None or re.fullmatch(wanted, value)), line
        found[name] = value
    return found


def test_the_batch_script_asks_slurm_for_the_recipes_machines(tmp_path):
    start = make(tmp_path)
    asked = Slurm(hours=12, partition="gpu", account="lab", more=("--constraint=h100",))
    text = write_slurm(start, Command(("/opt/verl/bin/python",)), asked).read_text()
    options = sbatch_options(text)
    assert (options["nodes"], options["gpus-per-node"], options["ntasks-per-node"]) == ("8", "8", "1")
    assert (options["time"], options["partition"], options["account"]) == ("12:00:00", "gpu", "lab")
    assert options["constraint"] == "h100" and "requeue" in options and options["signal"] == "B:TERM@300"
    assert f"words=({shlex.join(WORDS)})" in text and '"64"' in text and "@NODES@" not in text
    assert "partition" not in sbatch_options(write_slurm(start, Command(("p",))).read_text())


def test_a_reward_model_has_a_machine_more(tmp_path):
    start = replace(make(tmp_path), judged=True)
    text = write_slurm(start, Command(("p",))).read_text()
    assert sbatch_options(text)["nodes"] == "9" and '"72"' in text
    found = yaml.safe_load(write_rayjob(start, KubeRay("image", "claim", tmp_path.resolve())).read_text())
    assert found["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 8
    wide = replace(start, verl=Verl(gpus_per_node=4, reward_gpus=8))
    with pytest.raises(InputError, match="reward_gpus: 8, but a machine has 4"):
        write_slurm(wide, Command(("p",)))


def test_an_option_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match="write --name=value"):
        write_slurm(make(tmp_path), Command(("p",)), Slurm(more=("-p gpu",)))


SRUN = """#!/bin/bash
# Slurm's srun on this machine: its own options go, the rest is run, and is written down
echo "srun $*" >> "$SEEN"
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$SEEN"
[[ "$1" == show ]] && printf 'node1\\nnode2\\n' || true
"""
PYTHON = """#!/bin/bash
# verl's Python: Ray stays up until it is ended; asked for GPUs, it first has too few
echo "python $*" >> "$SEEN"
if [[ "$1" == -m ]]; then exec sleep 60; fi
count=$(cat "$SEEN.count" 2> /dev/null || echo 0); echo $((count + 8)) > "$SEEN.count"; echo "$count"
"""


def machine(folder: Path) -> tuple[Path, dict[str, str]]:
    """A machine with commands of Slurm that only write down what they were asked."""
    tools, seen = folder / "tools", folder / "seen"
    tools.mkdir()
    (folder / "seen").touch()
    host = "#!/bin/bash\necho 10.0.0.1 10.1.0.1\n"
    scripts = {"srun": SRUN, "scontrol": SCONTROL, "verl-python": PYTHON, "hostname": host}
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    around = {
        "PATH": f"{tools}:{os.environ['PATH']}", "SEEN": str(seen), "SLURM_JOB_ID": "1234567", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }  # fmt: skip
    return seen, around


@pytest.mark.parametrize("ends", ["by itself", "when asked"])
def test_the_batch_script_brings_up_ray_and_ends_in_order(tmp_path, ends):
    """Run by bash, with Slurm's commands replaced by ones that write down what they are asked."""
    seen, around = machine(tmp_path)
    words = [sys.executable, "-c", (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "open(os.environ['SEEN'] + '.job', 'w').write(os.environ['RAY_ADDRESS'])\n"
        f"{'time.sleep(60)' if ends == 'when asked' else 'sys.exit(3)'}"
    )]  # fmt: skip
    path = write_slurm(make(tmp_path, 2, words), Command((str(tmp_path / "tools" / "verl-python"),)))
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    text = path.read_text().replace("sleep 5", "sleep 0.01")
    path.write_text(text)
    process = subprocess.Popen(["bash", str(path)], env=os.environ | around, start_new_session=True)
    job = Path(f"{seen}.job")
    while not (job.exists() and job.read_text()) and process.poll() is None:
        time.sleep(0.01)
    if ends == "when asked":
        process.terminate()
    assert process.wait() == (5 if ends == "when asked" else 3)
    # a port of the job's own: 20000 + 1234567 % 10000
    assert job.read_text() == "10.0.0.1:24567"
    said = seen.read_text()
    assert "--nodelist=node1" in said and "--exclude=node1" in said and said.count("scripts start") >= 4
    assert ("scontrol requeue 1234567" in said) == (ends == "when asked")
    assert int(Path(f"{seen}.count").read_text()) >= 16  # it was not started before all 16 were there


# Fields of KubeRay's API ray.io/v1 (ray-operator/apis/ray/v1, JSON names of the Go structs) and of the pods of
# Kubernetes' core/v1, as far as we write them: a name that is none is refused by the cluster, or worse, ignored.
POD: dict[str, Any] = {
    "spec": {
        "restartPolicy": ("Always", "OnFailure", "Never"),
        "containers": [{
            "name!": str, "image!": str, "resources": {"limits": {str: str}, "requests": {str: str}},
            "volumeMounts": [{"name!": str, "mountPath!": str}],
        }],
        "volumes": [{
            "name!": str, "persistentVolumeClaim": {"claimName!": str}, "emptyDir": {"medium": ("", "Memory")},
        }],
    },
}  # fmt: skip
RAYJOB: dict[str, Any] = {
    "apiVersion!": ("ray.io/v1",), "kind!": ("RayJob",), "metadata!": {"name!": str},
    "spec!": {
        "entrypoint": str, "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode"), "backoffLimit": int,
        "activeDeadlineSeconds": int, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "headGroupSpec!": {"rayStartParams!": {str: str}, "template!": POD},
            "workerGroupSpecs": [{
                "groupName!": str, "replicas": int, "minReplicas!": int, "maxReplicas!": int,
                "rayStartParams!": {str: str}, "template!": POD,
            }],
        },
    },
}  # fmt: skip


def hold(value: Any, schema: Any, place: str = "") -> None:
    """Assert that a value is what the schema says: every name known, every needed one there."""
    if isinstance(schema, list):
        assert isinstance(value, list), place
        for number, item in enumerate(value):
            hold(item, schema[0], f"{place}[{number}]")
    elif isinstance(schema, dict) and str in schema:
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()), place
    elif isinstance(schema, dict):
        known = {name.rstrip("!"): inner for name, inner in schema.items()}
        assert set(value) <= set(known), f"{place}: {set(value) - set(known)}"
        assert {name.rstrip("!") for name in schema if name.endswith("!")} <= set(value), place
        for name, inner in value.items():
            hold(inner, known[name], f"{place}.{name}")
    elif isinstance(schema, tuple):
        assert value in schema, place
    else:
        assert type(value) is schema, f"{place}: {value!r}"


def test_the_rayjob_is_one_of_kuberay(tmp_path):
    start = make(tmp_path)
    asked = KubeRay("registry/verl: 0.9.1", "runs", tmp_path.resolve(), hours=48)
    found = yaml.safe_load(write_rayjob(start, asked).read_text())
    hold(found, RAYJOB)
    spec = found["spec"]
    assert shlex.split(spec["entrypoint"]) == WORDS and spec["activeDeadlineSeconds"] == 48 * 3600
    [workers] = spec["rayClusterSpec"]["workerGroupSpecs"]
    # the head is the eighth machine
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 7
    # every mount has a volume, and runs lie where the job's paths say
    for pods in (workers, spec["rayClusterSpec"]["headGroupSpec"]):
        pod = pods["template"]["spec"]
        [container] = pod["containers"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
        assert container["image"] == asked.image and pods["rayStartParams"]["num-gpus"] == "8"
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert set(mounts) == {v["name"] for v in pod["volumes"]} and mounts["runs"] == str(
            tmp_path.resolve()
        )
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", found["metadata"]["name"])  # RFC 1035
    assert found["metadata"]["name"] == "cascade-cascade-8b-thinking"


def test_the_reader_refuses_a_field_that_kuberay_does_not_know():
    good = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "x"},
        "spec": {"entrypoint": "true"},
    }
    hold(good, RAYJOB)
    for bad in ({"entryPoint": "true"}, {"backoffLimit": "0"}, {"submissionMode": "k8s"}):
        with pytest.raises(AssertionError):
            hold(good | {"spec": bad}, RAYJOB)


def test_a_run_that_the_pods_cannot_see_is_refused(tmp_path):
    with pytest.raises(InputError, match="they can't see it"):
        write_rayjob(make(tmp_path), KubeRay("image", "claim", Path("/elsewhere")))
