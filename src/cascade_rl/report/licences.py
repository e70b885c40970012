"""Licences as the front matter of a card names them: by the hub's own identifiers, else as `other`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cascade_rl.errors import InputError

# https://huggingface.co/docs/hub/repositories-licenses: the hub takes no other word for `license`
_KNOWN = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-
by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0
epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc
h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-
noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma
unknown other
"""
KNOWN = frozenset(_KNOWN.split())


def licence_keys(word: str) -> dict[str, str]:
    """The keys of a card for what a user calls a licence; InputError for what is no name of one."""
    named = word.strip().casefold()
    if named in KNOWN - {"other"}:
        return {"license": named}
    if named == "other" or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", named):
        raise InputError(
            f"--licence {word!r} is no name of a licence: one that the hub knows (such as apache-2.0), or a "
            "name of your own in letters, digits, dots and hyphens, which becomes `other` with that name"
        )
    return {"license": "other", "license_name": named}


def licence_note(given: str | None, base: Mapping[str, str], name: str | None) -> str:
    """What a card says of the licence: of these weights, and of the model `name` that they began with."""
    began = f"the model that it began with, `{name}`" if name else ""
    theirs = ", ".join(base.values())
    if given:
        said = f"These weights are given under `{given}`."
        if theirs:
            return f"{said} The licence of {began} is {theirs}: it must allow that."
        return f"{said} The README of {began} names no licence." if began else said
    if theirs:
        return f"The licence is that of {began}: {theirs}."
    if began:
        return f"No licence is named: the README of {began} names none."
    return "No licence is named. The model was trained from scratch: whoever trained it may choose one."
