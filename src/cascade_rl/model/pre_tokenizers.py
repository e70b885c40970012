"""Which of llama.cpp's pre-tokenizers cuts texts as a tokenizer does.

A GGUF file names the cut (`tokenizer.ggml.pre`), and llama.cpp knows the names alone: there is no way to give
it a pattern. So names are tried: each on texts, with the tokenizer's own merges, since a cut in another place
matters only where a token would lie across it. The patterns are those of src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import InputError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_NEWER = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Names with their patterns, each applied within the pieces of the one before; of several names for one cut
# the first that llama.cpp had. Whole words that are tokens go before merges where the name says so.
CUTS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "qwen2": (_NEWER.replace("DIGITS", r"\p{N}"),),
    "dbrx": (_NEWER.replace("DIGITS", r"\p{N}{1,3}"),),
    "llama-bpe": (_NEWER.replace("DIGITS", r"\p{N}{1,3}"),),
    "tekken": (_CASED,),
}
WHOLE_WORDS = ("llama-bpe", "tekken")  # `ignore_merges` of tokenizers

# What any of the cuts below must get right, or the file would be read wrongly all the time.
ORDINARY = (
    "What is 12 + 7? It is 19, since 12 + 7 = 19.",
    "The answer is 3.14159, not 1,000,000.",
    "  Two spaces, then\n\nan empty line.\n\n\n42\n\t7",
    "def area(width, height):\n    return width * height  # square\n\n\nprint(area(3, 4))\n",
    "for i in range(10):\n\tif i % 2 == 0:\n\t\tprint(f'{i}: {i ** 2}')",
    "It's what they don't say, I'll bet we've seen; she'd agree, I'm sure.",
    'She said: "Why?" -- and left ... (for good) [sic] {1} <b>!</b> @home #1 $5 50% a_b c-d e/f',
    '{"name": "add", "arguments": {"a": 1, "b": [2, 3]}}',
    "\\boxed{\\frac{1}{2}} and $x^2 + y^2 = z^2$",
    "- one\n- two\n\n1. first\n2. second\n\n| a | b |\n| --- | --- |\n",
    "Ünïcode, français, über, naïve; Ελληνικά, русский",
    "中文, 日本語, 한국어, العربية, हिन्दी",
    "trailing blanks   \n   leading blanks\r\nand a carriage return",
    "CamelCase HTTPServer snake_case kebab-case ALLCAPS",
)
# Where patterns differ that agree elsewhere; told, since a text of that kind is seldom.
RARE = (
    "f'text' and r'more', O'sullivan's 'tis",
    "5'max\n'test'",
    "½ ² Ⅷ x² 1½",
    "😀😃 — “quoted” … ‘single’",
    "\u00a0no-break\u2003spaces\u3000here",
    "e\u0301 decomposed, ﬁ ligature",
    "IT'S WE'RE",
)


@dataclass(frozen=True, slots=True)
class Cut:
    """A name for `tokenizer.ggml.pre`, and the texts (of how many) that it cuts into other tokens."""

    name: str
    other: tuple[str, ...]
    tried: int

    def line(self) -> str:
        """What there is to know of it, in words."""
        if not self.other:
            return f"pre-tokenizer `{self.name}`: the same tokens in all {self.tried} texts that were tried"
        shown = " and ".join(json.dumps(text, ensure_ascii=False) for text in self.other[:2])
        return (
            f"pre-tokenizer `{self.name}`: the same tokens in all but {len(self.other)} of the {self.tried} "
            f"texts that were tried, such as {shown}; llama.cpp has no pre-tokenizer that is the same there"
        )


def choose_cut(inner: Any, texts: Sequence[str] = (), prompts: Sequence[str] = ()) -> Cut:
    """The pre-tokenizer of llama.cpp that fits a transformers tokenizer best; `texts` are tried beside ours.

    `prompts` are what the chat template writes. Raises InputError where none cuts those and ordinary texts as
    the tokenizer does, and where its model is none that a GGUF file of llama.cpp's `gpt2` kind can hold.
    """
    whole = core_of(inner)
    needed = (*prompts, *ORDINARY)
    asked = (*needed, *RARE, *texts)
    wanted = [ids.ids for ids in inner.backend_tokenizer.encode_batch(list(asked), add_special_tokens=False)]
    found = [_tried(whole, name, asked, wanted) for name in CUTS]
    best = min(found, key=lambda cut: len(cut.other))
    if wrong := [text for text in best.other if text in needed]:
        raise InputError(
            f"none of llama.cpp's pre-tokenizers that are known here ({', '.join(CUTS)}) cuts texts as this "
            f"tokenizer does (the nearest, {best.name}, does not cut {wrong[0]!r} so): leave --gguf out"
        )
    return best


def core_of(inner: Any) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE; InputError for any other tokenizer."""
    core = getattr(inner, "backend_tokenizer", None)
    whole: dict[str, Any] = json.loads(core.to_str()) if core is not None else {"model": {}}
    if whole["model"].get("type") != "BPE" or (whole.get("decoder") or {}).get("type") != "ByteLevel":
        kind = whole["model"].get("type") or type(inner).__name__
        raise InputError(
            f"the tokenizer is no byte-level BPE ({kind}): only those are written to GGUF here; export "
            "without --gguf and convert with llama.cpp's convert_hf_to_gguf.py"
        )
    return whole


def cut_by(name: str) -> Any:
    """The pre-tokenizer of that name, as the tokenizers library has it."""
    from tokenizers import Regex, pre_tokenizers

    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in CUTS[name]]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*cuts, level])


def _tried(whole: dict[str, Any], name: str, asked: Sequence[str], wanted: Sequence[list[int]]) -> Cut:
    from tokenizers import Tokenizer

    # llama.cpp normalises nothing, and takes no blanks beside a token into it
    added = [{**t, "lstrip": False, "rstrip": False, "single_word": False} for t in whole["added_tokens"]]
    bare = {**whole, "normalizer": None, "post_processor": None, "added_tokens": added}
    bare["model"] = {**whole["model"], "ignore_merges": name in WHOLE_WORDS}
    other = Tokenizer.from_str(json.dumps(bare))
    other.pre_tokenizer = cut_by(name)
    found = other.encode_batch(list(asked), add_special_tokens=False)
    differ = [text for text, ids, right in zip(asked, found, wanted, strict=True) if ids.ids != right]
    return Cut(name, tuple(differ), len(asked))
