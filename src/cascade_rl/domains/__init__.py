"""The domains: one file is one domain; see `cascade_rl.domain`. Here they are listed and loaded."""

from __future__ import annotations

import importlib
import pkgutil

from cascade_rl.domain import Domain
from cascade_rl.errors import InputError, meant

# what others call the domains: of a word that is none of ours, the domain that is meant
CALLED = {
    "math": "maths", "mathematics": "maths", "arithmetic": "maths", "gsm8k": "maths", "aime": "maths",
    "code": "coding", "programming": "coding", "python": "coding", "humaneval": "coding",
    "livecodebench": "coding",
    "mcq": "multiple_choice", "mcqa": "multiple_choice", "choice": "multiple_choice",
    "mmlu": "multiple_choice", "gpqa": "multiple_choice", "multichoice": "multiple_choice",
    "ifeval": "following", "ifbench": "following", "if": "following", "instruction": "following",
    "instructions": "following", "instruction_following": "following",
    "swe-bench": "swe", "swebench": "swe", "repair": "swe", "swe_bench": "swe",
    "tool": "tools", "tool_use": "tools", "tool_calling": "tools", "function_calling": "tools",
    "functions": "tools", "bfcl": "tools",
    "rlhf": "alignment", "chat": "alignment", "preference": "alignment", "preferences": "alignment",
}  # fmt: skip


def domain_names() -> list[str]:
    """The domains that the package ships, by name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load_domain(name: str) -> Domain:
    """The domain of a shipped name (`maths`) or of a dotted module path (`my_lab.chemistry`).

    Raises InputError naming the known domains, the one that may be meant first, when there is none, or when
    the module has no DOMAIN.
    """
    # a dot tells a module path: shipped domains are files of one folder
    path = name if "." in name else f"cascade_rl.domains.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        # the module that was asked for is missing, or a package above it; else an import of its own: raised
        if error.name and (path == error.name or path.startswith(error.name + ".")):
            names = domain_names()
            raise InputError(
                f"no domain {name!r}; {meant(name, names, CALLED)}known: {', '.join(names)}; "
                "or give the dotted path of a module with a DOMAIN"
            ) from None
        raise
    domain = getattr(module, "DOMAIN", None)
    if not isinstance(domain, Domain):
        raise InputError(f"module {path} has no DOMAIN; end it with `DOMAIN = Domain(...)`")
    return domain
