"""Own conversations: their shapes, their faults, and that what is trained is what is served, by transformers' own word."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tokenizer
from transformers import AutoTokenizer

from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe import ChatData
from cascade_rl.sources.chats import CHAT_MAPS, conversation, nemotron_sft, openai_chat, sharegpt
from cascade_rl.sources.rows import problem_of
from cascade_rl.types import Message, Mode

ADD = {"type": "function", "function": {"name": "add", "parameters": {"a": "int", "ü": "int"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text} | more


# ---------------------------------------------------------------- what is trained is what is served


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A tokenizer as a server loads it: transformers alone, with nothing of ours but the saved files."""
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer().save(path)
    return AutoTokenizer.from_pretrained(str(path))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1, max_size=12).filter(
    str.strip
)
ARGUMENTS = st.dictionaries(TEXT, st.integers() | TEXT, max_size=2)


@st.composite
def conversations(draw):
    """Messages of several turns in both modes, with system prompts, tools, calls and their answers."""
    tools = draw(st.sampled_from([None, [ADD], [ADD, {"type": "function", "function": {"name": "now"}}]]))
    messages = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        messages.append(user(draw(TEXT)))
        for last in (False, True) if tools and draw(st.booleans()) else (True,):
            thought = draw(st.none() | TEXT.map(lambda text: text.strip("\n") or "x").filter(str.strip))
            answer = draw(TEXT).lstrip("\n") or "x"
            text = answer if thought is None else f"<think>\n{thought}\n</think>\n\n{answer}"
            turn = assistant(text)
            if not last:
                calls = draw(st.lists(ARGUMENTS, min_size=1, max_size=2))
                turn["tool_calls"] = [
                    {"type": "function", "function": {"name": "add", "arguments": a}} for a in calls
                ]
            messages.append(turn)
            if not last:
                messages += [{"role": "tool", "content": draw(TEXT)} for _ in calls]
    return messages, tools


def flagged(messages, thinking: bool):
    """The messages as a client sends them who asks for a mode."""
    sent = copy.deepcopy(messages)
    last = max(place for place, turn in enumerate(sent) if turn["role"] == "user")
    sent[last]["content"] += " /think" if thinking else " /no_think"
    return sent


@settings(max_examples=150, deadline=None)
@given(conversations())
def test_the_ids_of_each_turn_are_those_that_a_server_renders(served, drawn):
    messages, tools = drawn
    made = openai_chat({"messages": messages, "tools": tools}).demonstrations("own", last=False)
    places = [place for place, turn in enumerate(messages) if turn["role"] == "assistant"]
    assert len(made) == len(places)
    for demonstration, place in zip(made, places, strict=True):
        thinking = "</think>" in messages[place]["content"]
        assert demonstration.problem.mode is (Mode.THINKING if thinking else Mode.INSTRUCT)
        prompt, reply = tokenizer().taught(demonstration)
        sent = flagged(messages[:place], thinking)
        assert prompt == served.apply_chat_template(
            sent, tools=tools, add_generation_prompt=True, return_dict=False
        )
        # and the reply is what the history of the next turn would hold, would it keep thoughts
        whole = served.apply_chat_template([*sent, messages[place]], tools=tools, tokenize=False)
        assert served.decode(prompt + reply) + "\n" == whole
        assert prompt + reply == served.encode(whole.removesuffix("\n"), add_special_tokens=False)


def test_the_last_reply_alone_is_the_last_of_all():
    row = {"messages": [user("a"), assistant("b"), user("c"), assistant("d")]}
    every = openai_chat(row).demonstrations("own", last=False)
    assert [item.reply for item in every] == ["b", "d"]
    assert openai_chat(row).demonstrations("own", last=True) == every[-1:]
    assert every[1].problem.messages == (
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
    )


# ---------------------------------------------------------------- shapes


def test_a_thought_in_a_field_and_one_in_tags_are_the_same():
    tags = openai_chat({"messages": [user("q"), assistant("<think>why</think>because")]})
    field = openai_chat({"messages": [user("q"), assistant("because", reasoning_content="why\n")]})
    assert tags == field
    assert tags.messages[1].content == "<think>\nwhy\n</think>\n\nbecause" and tags.replies == (
        (1, Mode.THINKING),
    )


def test_an_empty_think_block_asks_for_none():
    found = openai_chat({"messages": [user("q"), assistant("<think>\n\n</think>\n\nyes")]})
    assert found.messages[1].content == "yes" and found.replies == ((1, Mode.INSTRUCT),)


def test_a_flag_in_the_text_is_not_said_twice():
    found = openai_chat({"messages": [user("q /no_think"), assistant("yes")]})
    assert found.messages[0].content == "q"


def test_contents_of_parts_calls_without_text_and_turns_of_no_weight():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "developer", "content": "s"},
        user(parts),
        assistant("no", weight=0),
        user("again"),
        assistant(None, tool_calls=[CALL]),
    ]
    found = openai_chat({"messages": messages, "tools": json.dumps([ADD])})
    assert found.messages[0].role == "system" and found.messages[1].content == "ab"
    assert found.messages[4].content == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert [place for place, _ in found.replies] == [4]


def test_sharegpt_is_the_same_conversation():
    row = {
        "system": "s",
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "<think>so</think>two"},
        ],
        "tools": json.dumps([ADD]),
    }
    messages = [
        {"role": "system", "content": "s"},
        user("q"),
        assistant("", tool_calls=[{"function": {"name": "add", "arguments": {"a": 1}}}]),
        {"role": "tool", "content": "2"},
        assistant("two", reasoning_content="so"),
    ]
    assert sharegpt(row) == openai_chat({"messages": messages, "tools": [ADD]})


def test_nemotron_rows_say_their_mode():
    messages = [user("q"), assistant("<think>why</think>a")]
    row = {"messages": messages, "category": "math", "thinking": True}
    assert nemotron_sft(row) == openai_chat({"messages": messages, "mode": "thinking"})
    with pytest.raises(InputError, match="the row says instruct, but a thought stands in message 2"):
        nemotron_sft(row | {"thinking": False})


WRONG = [
    ({}, "messages: want a list of objects, got nothing"),
    ({"messages": "hello"}, "messages: want a list of objects, got 'hello'"),
    ({"messages": [user("q")]}, "no assistant turn"),
    ({"messages": [assistant("a")]}, "message 1: assistant can't speak first"),
    (
        {"messages": [user("q"), assistant("a"), assistant("b")]},
        "message 3: assistant can't speak after assistant",
    ),
    ({"messages": [user("q"), {"role": "bot", "content": "a"}]}, "message 2: role 'bot' is none of"),
    (
        {"messages": [user("q"), {"role": "system", "content": "a"}]},
        "message 2: system can't speak after user",
    ),
    ({"messages": [user(7), assistant("a")]}, "message 1: content is int"),
    (
        {"messages": [user([{"type": "image_url", "image_url": "x"}]), assistant("a")]},
        "parts that are no text",
    ),
    ({"messages": [user("q"), assistant("  ")]}, "message 2: the reply is empty"),
    ({"messages": [user("q"), assistant(None)]}, "message 2: content is null, not a text"),
    ({"messages": [user("q"), assistant("<think>why")]}, "message 2: think tags inside"),
    ({"messages": [user("q"), assistant("well <think>why</think>a")]}, "message 2: think tags inside"),
    ({"messages": [user("q"), assistant("<think>a</think>b", reasoning_content="c")]}, "in tags and one in"),
    ({"messages": [user("q"), assistant("<think>a</think>b</think>")]}, "message 2: think tags inside"),
    ({"messages": [user("q"), assistant("", tool_calls=[{"function": {}}])]}, "a tool call without a name"),
    (
        {"messages": [user("q"), assistant("", tool_calls=[{"name": "f", "arguments": "1"}])]},
        "the arguments of f are no JSON object",
    ),
    (
        {"messages": [user("q"), assistant("", tool_calls=[{"name": "f", "arguments": "{"}])]},
        "arguments: not JSON",
    ),
    ({"messages": [user("q"), assistant("", function_call={"name": "f"})]}, "write tool_calls"),
    ({"messages": [user("q"), assistant("a")], "mode": "fast"}, "mode 'fast' is neither"),
    ({"messages": [user("q"), assistant("a")], "mode": "thinking"}, "the row says thinking, but no thought"),
    ({"messages": [user("q"), assistant("a")], "tools": "x"}, "tools: not JSON"),
    ({"messages": [user("q"), assistant("a")], "tools": '[{"name": "\\ud800"}]'}, "half of a surrogate pair"),
    ({"messages": [user("q"), assistant("a")], "tools": "[" * 10**5}, "tools: not JSON"),
    ({"messages": [None, assistant("a")]}, "messages: want a list of objects"),
]


@pytest.mark.parametrize(("row", "why"), WRONG)
def test_a_wrong_row_says_why(row, why):
    with pytest.raises(InputError, match=why):
        openai_chat(row)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.sampled_from(["user", "assistant", "a", "{", "<think>"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "role",
                        "content",
                        "conversations",
                        "from",
                        "value",
                        "tool_calls",
                        "function",
                        "tools",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_row_is_a_crash(row):
    for read in CHAT_MAPS.values():
        if isinstance(row, dict):
            try:
                read(row)
            except InputError:
                pass


def test_the_recipe_knows_every_map():
    for name in CHAT_MAPS:
        assert ChatData(source="jsonl:a", map=name).map == name
    with pytest.raises(ValueError, match=", ".join(map(repr, CHAT_MAPS))):
        ChatData(source="jsonl:a", map="no such map")


def test_prompts_of_problems_keep_their_calls_and_tools():
    """As a conversation's do: rows for RL and benchmarks lost them without a word."""
    messages = [
        user("1?"),
        assistant("", tool_calls=[CALL], reasoning_content="so"),
        {"role": "tool", "content": "2"},
    ]
    row = {"messages": messages, "tools": [ADD], "answer": "2"}
    problem = problem_of(row, load_domain("maths"), "rows")
    assert problem.messages == conversation(messages, [ADD]).messages
    assert "<tool_call>" in problem.messages[2].content and "<tools>" in problem.messages[0].content
    plain = problem_of({"messages": [user("1? /think")], "answer": "2"}, load_domain("maths"), "rows")
    assert plain.messages == (Message("user", "1? /think"),), "others are as they were"
    with pytest.raises(InputError, match="message 2: a tool call without a name"):
        problem_of(
            row | {"messages": [user("q"), assistant("", tool_calls=[{}])]}, load_domain("maths"), "rows"
        )
