r"""GPQA-Diamond: 198 questions of biology, chemistry and physics by experts, four options.

Its authors ask that no example be shown in clear on the web, and mark the set with a canary; on the hub the
terms have to be accepted first. So this row is made up, in the shape of theirs (80 more columns are left
out):

    {"Record ID": "rec0", "Question": "Which gas do plants take up by day?", "Correct Answer": "Carbon
     dioxide",
     "Incorrect Answer 1": "Neon", "Incorrect Answer 2": "Argon", "Incorrect Answer 3": "Helium",
     "High-level domain": "Biology", "Subdomain": "Botany"}

The right answer has a column of its own: options are shuffled by the row's id, alike in every run, so that
it stands at each letter about equally often.
"""

from typing import Any

from cascade_rl.benchmarks.shapes.choices import choice_row, chosen, shuffled
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import text

COLUMNS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def problem(row: Row) -> dict[str, Any]:
    """Grouped by domain."""
    identity = text(row, "Record ID")
    options, right = shuffled([text(row, name).strip() for name in COLUMNS], "gpqa_diamond", identity)
    asked = {"question": text(row, "Question").strip(), "options": options, "answer": right}
    made = choice_row({**asked, "domain": text(row, "High-level domain")}, group="domain")
    return {**made, "id": identity}


BENCHMARK = Benchmark(
    name="gpqa_diamond",
    summary="science by experts, four options",
    domain="multiple_choice",
    sources=("hub:Idavidrein/gpqa@5233cd1db58884ed0bf678c7c6be731722a23f84#gpqa_diamond/train",),
    problem=problem,
    answer=chosen,
    size=198,
    k=8,
    example={
        "Record ID": "rec0",
        "Question": "Which gas do plants take up by day?",
        "Correct Answer": "Carbon dioxide",
        "Incorrect Answer 1": "Neon",
        "Incorrect Answer 2": "Argon",
        "Incorrect Answer 3": "Helium",
        "High-level domain": "Biology",
    },
    citation="Rein et al. 2023, arXiv 2311.12022",
    licence="CC-BY-4.0; gated: its authors ask not to publish examples, nor to train on them",
    missing="accept the terms at huggingface.co/datasets/Idavidrein/gpqa, then hf auth login",
)
