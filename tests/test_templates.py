"""A model's own chat template: what is trained is what transformers alone serves, token by token, for every template."""

from __future__ import annotations

import copy
import datetime
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_templates import OWN, of_bytes, of_pieces
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from cascade_rl.chat import TemplateError
from cascade_rl.errors import InputError
from cascade_rl.model.marks import WRAP, Marks
from cascade_rl.model.rendering import DAY
from cascade_rl.model.own_template import OwnTemplate
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.sources.chats import openai_chat
from cascade_rl.types import Demonstration, Message, Mode, Problem

ADD = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"a": "int"}}}
CALLS = {"object": dict, "text": json.dumps}


class SameDay(datetime.datetime):
    """A clock that stands on the day of a run: what a template that writes the day is compared by."""

    @classmethod
    def now(cls, tz=None):
        return DAY


@pytest.fixture(autouse=True)
def one_day(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", SameDay)
    chat_template_utils._compile_jinja_template.cache_clear()
    yield
    chat_template_utils._compile_jinja_template.cache_clear()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Of each template the saved directory as we load it, and as transformers alone does, after we saved it again."""
    made = {}
    for name, own in OWN.items():
        before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
        own.made().save_pretrained(str(before))
        tokenizer = load_tokenizer(before, template="model")
        tokenizer.save(after)
        made[name] = tokenizer, AutoTokenizer.from_pretrained(str(after)), after
    return made


def user(text):
    return {"role": "user", "content": text}


# ---------------------------------------------------------------- the law

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<>[]|/"), max_size=10)
TEXT = WORDS.map(lambda text: f"a{text}b")  # no blank at an edge, which some templates take off
VALUES = st.dictionaries(st.sampled_from("abc"), st.integers() | TEXT, max_size=2)


@st.composite
def conversations(draw, own):
    """A row of OpenAI's shape that a template can write: several turns, system prompts, tools, thoughts."""
    messages = [{"role": "system", "content": draw(TEXT)}] if own.system and draw(st.booleans()) else []
    tools = [ADD] if own.tools and draw(st.booleans()) else None
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(draw(TEXT)))
        if tools and draw(st.booleans()):
            count = 1 if own.one_call else draw(st.integers(1, 2))
            called = [
                {"type": "function", "function": {"name": "add", "arguments": draw(VALUES)}}
                for _ in range(count)
            ]
            messages.append({"role": "assistant", "content": "", "tool_calls": called} | thought(draw, own))
            messages += [{"role": "tool", "content": draw(TEXT)} for _ in called]
        messages.append({"role": "assistant", "content": draw(TEXT)} | thought(draw, own))
    return messages, tools


def thought(draw, own):
    why = (
        draw(TEXT)
        if "thinking" in own.modes and ("instruct" not in own.modes or draw(st.booleans()))
        else None
    )
    return {} if why is None else {"reasoning_content": why}


def sent(messages, own, mode, tags):
    """The messages as a client sends them: ids for calls, thoughts where the template reads them, a flag of the mode."""
    rows, calls = [], []
    for place, turn in enumerate(copy.deepcopy(messages)):
        why = turn.get("reasoning_content")
        if why is not None and tags:
            turn["content"] = f"<think>\n{why}\n</think>\n\n{turn['content']}"
            del turn["reasoning_content"]
        if turn.get("tool_calls"):
            for number, call in enumerate(turn["tool_calls"]):
                call["id"] = f"call{place:03}{number:02}"
            calls = list(turn["tool_calls"])
        if turn["role"] == "tool":
            call = calls.pop(0)
            turn |= {"name": call["function"]["name"], "tool_call_id": call["id"]}
        rows.append(turn)
    if own.flags:
        last = max(place for place, turn in enumerate(rows) if turn["role"] == "user")
        rows[last]["content"] += " /think" if mode is Mode.THINKING else " /no_think"
    return rows


@pytest.mark.parametrize("name", OWN)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_ids_of_each_turn_are_those_that_transformers_serves(loaded, name, data):
    own, (tokenizer, theirs, _) = OWN[name], loaded[name]
    messages, tools = data.draw(conversations(own))
    tags = name != "qwen-3"
    made = openai_chat({"messages": messages, "tools": tools}).demonstrations("own", last=False)
    places = [place for place, turn in enumerate(messages) if turn["role"] == "assistant"]
    assert len(made) == len(places)
    for item, place in zip(made, places, strict=True):
        if own.drops and "tool_calls" in messages[place]:
            continue
        mode = item.problem.mode
        said = {"tools": tools, **own.modes[mode]}
        prompt, reply = tokenizer.taught(item)
        before = sent(messages[:place], own, mode, tags)
        assert prompt == theirs.apply_chat_template(
            before, add_generation_prompt=True, return_dict=False, **said
        )
        asked = theirs.apply_chat_template(before, add_generation_prompt=True, tokenize=False, **said)
        if mode is Mode.THINKING and own.drops:
            assert asked.endswith(own.begun)
            line = "\n" if own.begun.endswith("\n") else ""
            why, answer = messages[place]["reasoning_content"], messages[place]["content"]
            whole = f"{asked}{why}{line}</think>{line * 2}{answer}{own.end}"
        else:
            last = sent(messages[place : place + 1], OWN["chatml"], mode, tags)
            for number, call in enumerate(last[0].get("tool_calls", [])):
                call["id"] = f"call{len(before):03}{number:02}"
            whole = theirs.apply_chat_template([*before, *last], tokenize=False, **said)
            if not whole.startswith(asked):  # Mistral's leaves out the system prompt once a reply follows
                assert name == "mistral" and before[0]["role"] == "system"
                short = theirs.apply_chat_template([user("q")], tokenize=False, tools=tools)
                with_reply = theirs.apply_chat_template([user("q"), *last], tokenize=False, tools=tools)
                whole = asked + with_reply.removeprefix(short)
            whole = whole[: whole.rindex(own.end) + len(own.end)]
            if name == "phi-3":
                whole = whole.removesuffix("\n<|endoftext|>")
        assert prompt + reply == theirs.encode(whole, add_special_tokens=False)
        assert tokenizer.shown(item) == (asked, whole[len(asked) :])
        assert reply[-1] == theirs.convert_tokens_to_ids(own.end) and reply[-1] in tokenizer.eos_ids


@pytest.mark.parametrize("name", OWN)
def test_what_is_exported_is_the_models_own(loaded, name):
    own, (tokenizer, theirs, folder) = OWN[name], loaded[name]
    assert theirs.chat_template == own.template
    again = load_tokenizer(folder)
    assert (again.template.name, again.template.hash) == ("model", tokenizer.template.hash)
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert theirs.convert_tokens_to_ids(own.end) in (ends if isinstance(ends, list) else [ends])
    assert again.prompt(ask("a", tokenizer)) == tokenizer.prompt(ask("a", tokenizer))


def ask(text, tokenizer=None, mode=None):
    mode = mode or (tokenizer.template.modes[0] if tokenizer else None)
    return Problem("p", "toy", (Message("user", text),), None, mode or Mode.INSTRUCT)
