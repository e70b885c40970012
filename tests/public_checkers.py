"""A public implementation of IFEval's and IFBench's checkers, if-verifiable 0.1.2, made to run offline.

It runs with its own dependencies: nltk with the Punkt model and stop words that llama-index-core carries, and
langdetect, seeded. Its data set loader and its downloads are cut off. Its part-of-speech tagger has no weights here.
"""

import logging
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

Judge = Callable[[str, dict[str, Any], str], bool | str]


def site(module: str) -> Path:
    """Where a package lies, without importing it."""
    return Path(next(iter(find_spec(module).submodule_search_locations)))


@contextmanager
def public_checkers() -> Iterator[tuple[Judge, frozenset[str]]]:
    """`judge(id, kwargs, reply)`, which gives a verdict or the name of what was raised; and the ids that it knows."""
    loader = types.ModuleType("datasets")
    loader.load_dataset = None
    import langdetect
    import nltk

    data = [str(site("llama_index") / "core/_static/nltk_cache")]
    with (
        mock.patch.dict(sys.modules, {"datasets": loader}),
        mock.patch.object(nltk, "download", lambda *_, **__: False),
        mock.patch.object(nltk.data, "path", data),
        mock.patch.object(langdetect.DetectorFactory, "seed", 0),
    ):
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as BENCH
        from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as EVAL

        known = {**EVAL, **BENCH}

        def judge(ident: str, kwargs: dict[str, Any], reply: str) -> bool | str:
            checker = known[ident](ident)
            checker.build_description(**kwargs)
            try:
                return bool(reply.strip() and checker.check_following(reply))
            except (IndexError, ZeroDivisionError, LookupError) as fault:
                return type(fault).__name__

        with mock.patch.object(
            logging.getLogger(), "disabled", True
        ):  # it logs each text that langdetect can't tell
            yield judge, frozenset(known)
