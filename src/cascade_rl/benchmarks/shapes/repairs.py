"""Repairs in the way of Agentless: its repair step, files given; predictions for SWE-bench's harness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from cascade_rl.chat import THINK_END, split_reply
from cascade_rl.domain import Row
from cascade_rl.sources.columns import RowError, listed, some, text
from cascade_rl.sources.repair_rows import swe_bench
from cascade_rl.types import Mode, Problem
from cascade_rl.verify.patches.appraise import PatchError, apply_patch, unified_diff

TOP = 4  # files of a prompt, as the report gives (arXiv 2512.13607, evaluation)

# Agentless (Xia et al., arXiv 2407.01489), as nemo-gym 0.7.0 asks in its `swerl_gen` (Apache-2.0)
ASK = """\
You will be provided with a partial code base and an issue statement explaining a problem to resolve.
<issue>
{issue}
</issue>
<code>
{files}
</code>

Please first localize the bug based on the issue statement, and then generate *SEARCH/REPLACE* edits to \
fix the issue.

Every *SEARCH/REPLACE* edit must use this format:
1. ### followed by the file path
2. The start of search block: <<<<<<< SEARCH
3. A contiguous chunk of lines to search for in the existing source code
4. The dividing line: =======
5. The lines to replace into the source code
6. The end of the replace block: >>>>>>> REPLACE

Here is an example:

```python
### mathweb/flask/app.py
<<<<<<< SEARCH
from flask import Flask
=======
import math
from flask import Flask
>>>>>>> REPLACE
```

Important Instructions:
1. Preserve Indentation: The content string must maintain the exact indentation as required by the \
original code. Each line of the content should be indented to match the indentation level of the \
surrounding code to ensure proper functionality. For example, if you would like to add the line '        \
print(x)', you must fully write that out, with all those spaces before the code!

2. Correct Format: Ensure that each line of content maintains proper indentation. For instance, if the \
code block is inside a function or a loop, the new content should align with that structure.

Output format requirement: Please put the *SEARCH/REPLACE* edits in a code block, starting with \
<solution> and ending with </solution>.
Wrap the *SEARCH/REPLACE* edits in ```python...``` blocks. If you have multiple *SEARCH/REPLACE* edits, \
use a separate ```python...``` block for each one."""


class Reply(Protocol):
    """A stored sample, as far as a prediction needs it."""

    @property
    def problem(self) -> str: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def sample(self) -> int: ...
    @property
    def text(self) -> str: ...


def repair_row(row: Row) -> dict[str, Any]:
    """The repair step for a row with files: those that `shown` names, at most four, else the oracle's.

    The oracle's are those that the golden patch changes. Tests that the row names are left aside: they run in
    the images of SWE-bench alone. Raises RowError where no file is there, or the golden patch does not fit.
    """
    made = swe_bench({name: value for name, value in row.items() if name != "FAIL_TO_PASS"})
    files, patch = made["answer"]["files"], made["answer"]["patch"]
    if some(row, "shown"):
        paths = listed(row["shown"], "shown")[:TOP]
        if lacking := [path for path in paths if path not in files]:
            raise RowError(f"shown: {lacking[0]!r} is not among the files")
    else:
        after = apply_patch(patch, files)
        paths = [path for path in files if files[path] != after.get(path)]
    code = "\n".join(f"[start of {path}]\n{files[path]}\n[end of {path}]" for path in paths)
    return {
        "id": made["id"],
        "prompt": ASK.format(issue=text(row, "problem_statement").strip(), files=code),
        "answer": {"files": files, "patch": patch},
        "meta": {"instance_id": made["id"], **({"group": text(row, "repo")} if some(row, "repo") else {})},
    }


def predictions(
    replies: Iterable[Reply], problems: Iterable[Problem], model: str, sample: int = 0
) -> Iterator[Mapping[str, str]]:
    """The lines that SWE-bench's harness reads: the patch of one sample of each problem, as a unified diff.

    A reply that holds no patch that can be applied gives an empty one, which the harness counts as not
    resolved: no instance is left out.
    """
    known = {problem.id: problem for problem in problems}
    for reply in replies:
        if reply.sample == sample and reply.problem in known:
            problem = known[reply.problem]
            patch = _patch(problem, reply.text, reply.mode)
            yield {
                "instance_id": problem.meta["instance_id"],
                "model_name_or_path": model,
                "model_patch": patch,
            }


def _patch(problem: Problem, reply: str, mode: Mode) -> str:
    files = problem.answer["files"]
    if split_reply(reply, mode).answer is None:
        return ""
    try:
        # with the blanks at its end, which may be the last of a diff
        patch = unified_diff(files, apply_patch(reply.rpartition(THINK_END)[2], files))
    except PatchError:
        return ""
    # a last line without its end is a corrupt patch to git
    return f"{patch}\n" if patch else ""
