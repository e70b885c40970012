"""The chat template against strings written by hand, and against transformers with nothing but the saved tokenizer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError as JinjaError
from tiny import tokenizer
from transformers import AutoTokenizer

from cascade_rl import chat
from cascade_rl.chat import Reply, compose_reply, leaks, render, render_problem, split_reply, thinking_reply
from cascade_rl.types import Message, Mode, Problem

SYSTEM = "<|im_start|>system\nYou are a helpful and harmless assistant.<|im_end|>\n"
TOOLS = [
    {
        "type": "function",
        "function": {"name": "add", "description": "Adds <a> & b: äöü", "parameters": {"a": "int"}},
    },
    {"type": "function", "function": {"name": "now", "parameters": {}}},
]
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=40)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """What transformers makes of the saved directory, without our code."""
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer().save(path)
    return AutoTokenizer.from_pretrained(str(path))


def by_template(messages, *, tools=None, generate=True) -> str:
    return chat._compiled().render(messages=messages, tools=tools, add_generation_prompt=generate)


def test_one_turn_of_thinking():
    text = render([Message("user", "Hello")], Mode.THINKING)
    assert text == SYSTEM + "<|im_start|>user\nHello /think<|im_end|>\n<|im_start|>assistant\n"


def test_one_turn_of_instruct_has_no_empty_think_block():
    text = render([Message("user", "Hello")], Mode.INSTRUCT, reply="Hi.")
    assert (
        text == SYSTEM + "<|im_start|>user\nHello /no_think<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>"
    )


def test_own_system_prompt_replaces_the_default():
    text = render([Message("system", "Be brief."), Message("user", "Hello")], Mode.THINKING)
    assert (
        text
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello /think<|im_end|>\n<|im_start|>assistant\n"
    )


def test_earlier_turns_are_rewritten_to_no_think_and_lose_their_thinking_but_not_their_answers():
    messages = [
        Message("user", "One? /think"),
        Message("assistant", "<think>\nsecret\n</think>\n\nFirst."),
        Message("user", "Two?"),
        Message("assistant", "Second."),
        Message("user", "Three?"),
    ]
    assert render(messages, Mode.THINKING) == (
        SYSTEM + "<|im_start|>user\nOne? /no_think<|im_end|>\n<|im_start|>assistant\nFirst.<|im_end|>\n"
        "<|im_start|>user\nTwo? /no_think<|im_end|>\n<|im_start|>assistant\nSecond.<|im_end|>\n"
        "<|im_start|>user\nThree? /think<|im_end|>\n<|im_start|>assistant\n"
    )


def test_last_turn_keeps_its_own_flag_and_the_reply_to_it_its_thinking():
    last = "<think>\nwhy\n</think>\n\nBecause."
    rows = [
        {"role": "user", "content": "One? /no_think"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Two? /no_think"},
        {"role": "assistant", "content": last},
    ]
    tail = "<|im_start|>user\nTwo? /no_think<|im_end|>\n<|im_start|>assistant\n" + last + "<|im_end|>\n"
    assert by_template(rows, generate=False).endswith(tail)
    rows[2]["content"] = "Two? /think"
    assert by_template(rows, generate=False).endswith(tail.replace("/no_think", "/think"))


def test_a_turn_without_any_flag_asks_for_thinking():
    assert "Hello /think<|im_end|>" in by_template([{"role": "user", "content": "Hello"}])


def test_flag_is_not_doubled_and_not_stripped_inside_the_text():
    rows = [{"role": "user", "content": "what does /think mean? /no_think"}]
    assert "user\nwhat does /think mean? /no_think<|im_end|>" in by_template(rows)


def test_tools_stand_as_json_lines_in_the_system_prompt():
    text = by_template([{"role": "user", "content": "1+1"}], tools=TOOLS)
    system = text.split("<|im_end|>")[0]
    assert system.startswith("<|im_start|>system\nYou are a helpful and harmless assistant.\n\n# Tools\n")
    lines = system.split("<tools>\n")[1].split("\n</tools>")[0].split("\n")
    assert [json.loads(line) for line in lines] == TOOLS
    assert "Adds <a> & b: äöü" in system, "no HTML or ASCII escapes"
    assert "<tool_call>" in system.split("</tools>")[1]


def test_tool_calls_and_their_results():
    call = {"function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
    rows = [
        {"role": "user", "content": "1+2?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [call, {"function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "3"},
    ]
    assert by_template(rows) == (
        SYSTEM + "<|im_start|>user\n1+2? /think<|im_end|>\n<|im_start|>assistant\nLet me see.\n"
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
    rows[1] = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert "<|im_start|>assistant\n<tool_call>\n" in by_template(rows)


def test_a_problem_that_ends_with_a_tool_result_flags_the_users_turn():
    messages = (Message("user", "1+2?"), Message("assistant", "calling"), Message("tool", "3"))
    text = render_problem(Problem("x", "toy", messages, None, Mode.INSTRUCT))
    assert "1+2? /no_think<|im_end|>" in text
    assert text.endswith("<tool_response>\n3\n</tool_response><|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("roles", [("user", "system"), ("developer", "user"), ("user", "banana")])
def test_roles_in_the_wrong_place_are_refused(roles, reloaded):
    rows = [{"role": role, "content": "x"} for role in roles]
    with pytest.raises(chat.TemplateError, match=next(r for r in roles if r != "user")):
        by_template(rows)
    with pytest.raises(JinjaError):
        reloaded.apply_chat_template(rows, tokenize=False)


TURNS = st.lists(
    st.tuples(WORDS, st.sampled_from(["", " /think", " /no_think"]), WORDS, st.booleans()), max_size=3
)


@given(st.none() | WORDS, TURNS, WORDS, st.sampled_from(Mode), st.booleans())
def test_transformers_alone_renders_the_same_prompts(reloaded, system, turns, last, mode, with_tools):
    messages = [] if system is None else [Message("system", system)]
    for asked, flag, answer, thought in turns:
        messages += [Message("user", asked + flag)]
        messages += [Message("assistant", thinking_reply("hm", answer) if thought else answer)]
    messages.append(Message("user", last))
    rows = chat.flagged(messages, mode)
    theirs = reloaded.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
    assert render(messages, mode) == theirs
    tools = TOOLS if with_tools else None
    theirs = reloaded.apply_chat_template(rows, tools=tools, tokenize=False, add_generation_prompt=False)
    assert by_template(rows, tools=tools, generate=False) == theirs


def test_transformers_alone_makes_the_same_ids(reloaded):
    problem = Problem("x", "toy", (Message("user", "What is 12 + 7?"),), None)
    rows = chat.flagged(problem.messages, problem.mode)
    found = reloaded.apply_chat_template(rows, tokenize=True, add_generation_prompt=True, return_dict=True)
    assert list(found["input_ids"]) == tokenizer().prompt(problem)


def test_demonstration_continues_the_prompt_token_by_token():
    """Prompt and reply are encoded apart; together they are what the whole conversation gives."""
    tok, messages = tokenizer(), [Message("user", "What is 12 + 7?")]
    for mode in Mode:
        reply = compose_reply(mode, "12 + 7 = 19", "It is 19.")
        prompt = tok.prompt(Problem("x", "toy", tuple(messages), None, mode))
        assert prompt + tok.reply(reply) == tok.encode(render(messages, mode, reply=reply))
        assert tok.reply(reply)[-1] == tok.end_id


@given(WORDS, WORDS)
def test_split_undoes_compose(thought, answer):
    assert split_reply(thinking_reply(thought, answer), Mode.THINKING) == Reply(
        thought.strip(), answer.strip()
    )
    assert split_reply(answer, Mode.INSTRUCT) == Reply(None, answer.strip())
    assert not leaks(thinking_reply(thought, answer), Mode.THINKING)
    assert not leaks(answer, Mode.INSTRUCT)


@given(WORDS, WORDS)
def test_an_unclosed_thought_is_no_answer(thought, rest):
    for mode in Mode:
        assert split_reply(f"<think>{thought}", mode).answer is None
    assert split_reply(rest, Mode.THINKING).answer is None


PIECES = st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n", "boxed"]), max_size=8).map("".join)


@given(PIECES)
def test_the_answer_follows_the_last_closing_tag_in_either_mode(text):
    for mode in Mode:
        answer = split_reply(text, mode).answer
        if "</think>" in text:
            assert answer == text[text.rindex("</think>") + len("</think>") :].strip()
        if answer is not None:
            assert "</think>" not in answer


@given(PIECES)
def test_leaks_by_counting(text):
    opened, closed = text.count("<think>"), text.count("</think>")
    assert leaks(text, Mode.INSTRUCT) == (opened + closed > 0)
    well_formed = (opened, closed) == (1, 1) and text.strip().startswith("<think>")
    assert leaks(text, Mode.THINKING) == (not well_formed)
    if well_formed:
        assert split_reply(text, Mode.THINKING).answer is not None


def test_the_hash_follows_the_template(monkeypatch):
    before = chat.template_hash()
    monkeypatch.setattr(chat, "TEMPLATE", chat.TEMPLATE + " ")
    assert chat.template_hash() != before
