"""An exported reward model's chat template: transformers alone renders the very ids that were scored in training."""

from __future__ import annotations

import pytest
from own_templates import OWN
from transformers import AutoTokenizer

from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.types import Message

TALKS = [
    (("user", "Tell me about rivers."),),
    (("user", "Of lamps?"), ("assistant", "Warm."), ("user", "And of rivers, ünïcode?\n\nSay it.")),
    (("system", "Be brief."), ("user", "Tell me about lamps.")),
]
ANSWERS = ["Gladly! Rivers are calm.", "One.\n\nTwo: {{ braces }}"]


@pytest.fixture(scope="module", params=OWN)
def template(request, tmp_path_factory):
    """Our tokenizer with a model's own template, and transformers' own with what is exported beside a reward model."""
    folder = tmp_path_factory.mktemp("own")
    OWN[request.param].made().save_pretrained(str(folder))
    tokenizer = load_tokenizer(folder, template="model")
    tokenizer.save(folder)
    (folder / "chat_template.jinja").write_text(tokenizer.template.reward_text())
    return OWN[request.param], tokenizer, AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("talk", TALKS)
def test_of_every_family(template, talk, answer):
    own, tokenizer, theirs = template
    talk = talk if own.system else tuple(turn for turn in talk if turn[0] != "system")
    chat = [{"role": role, "content": text} for role, text in talk]
    said = [*chat, {"role": "assistant", "content": answer}]
    found = theirs.apply_chat_template(said, tokenize=True, return_dict=False)
    assert list(found) == tokenizer.answered([Message(*turn) for turn in talk], answer)
    # a thought before the answer is taken off, as where RL asks
    thought = [*chat, {"role": "assistant", "content": f"<think>\nhm\n</think>\n\n{answer}"}]
    assert theirs.apply_chat_template(thought, tokenize=True, return_dict=False) == found


def test_the_plain_template_would_read_something_else(template):
    _, tokenizer, theirs = template
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ours = theirs.apply_chat_template(said, tokenize=True, return_dict=False)
    assert ours[-1] == tokenizer.end_id
