"""Replies of a model behind an OpenAI-compatible server: well served, badly served, and not at all."""

import asyncio
import gzip
import json
import re
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scripted_server import Reply, Server, cut_short, drip, drip_head, drop, flood, hang, send, status

from cascade_rl.chat import _compiled, flagged, render, split_reply
from cascade_rl.errors import InputError, Interrupted, ServerFailure
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.remote.address import Served, parse_served
from cascade_rl.remote.answers import _retry_after, completion
from cascade_rl.remote.client import ChatClient, Terms
from cascade_rl.remote.sampler import TERMS, ServedSettings, ServerSampler, _advice, open_sampler
from cascade_rl.remote.wording import chat_messages, options, rollouts, row_seed
from cascade_rl.types import Message, Mode, Problem, Rollout, Stop

QUICK = Terms(timeout_s=60, attempts=3, backoff_s=0.01, parallel=4)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def problem(number, mode=Mode.INSTRUCT, *messages):
    return Problem(f"p{number}", "d", messages or (Message("user", f"question {number}"),), None, mode)


PROBLEMS = [problem(i) for i in range(12)]


def choice(text, finish="stop", **more):
    message = {"role": "assistant", "content": text, **more}
    return {"index": 0, "message": message, "finish_reason": finish}


def reply(*choices, usage=USAGE):
    return {"id": "x", "object": "chat.completion", "choices": list(choices)} | (
        {"usage": usage} if usage else {}
    )


def said(body):
    """What an honest server says: it depends on the question and the seed alone."""
    return f"{body['messages'][-1]['content']} by {body.get('seed')}"


def honest(body):
    return reply(*(choice(f"{said(body)}.{i}" if i else said(body)) for i in range(body.get("n", 1))))


HONEST = Reply(honest)


@contextmanager
def sampler(*script, terms=QUICK, together=1, by="none", key=None):
    with Server(*script) as server:
        yield ServerSampler(ChatClient(server.url, "m", api_key=key, terms=terms), by, together), server


def wanted(problems, sampling):
    return [
        tuple(Rollout.of_text(f"{p.messages[-1].content} by {row_seed(p, sampling, i)}", Stop.END, 3)
              for i in range(sampling.n)) for p in problems
    ]  # fmt: skip


def draw(served, problems=PROBLEMS, n=2, **options):
    """The groups, those that `finished` heard of by index, and the error, if there was one."""
    heard, sampling = {}, Sampling(n, 64, **options)

    def finished(index, group):
        assert index not in heard, "told twice"
        heard[index] = group

    try:
        return served.sample(problems, sampling, finished), heard, None
    except ServerFailure as error:
        return None, heard, str(error)


# What is asked.


def check_schema(body):
    """Against the types of the official library; its lists of messages are lazy, so that each is read here."""
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Body

    TypeAdapter(Body).validate_python(body, strict=True)
    for message in body["messages"]:
        TypeAdapter(ChatCompletionMessageParam).validate_python(message, strict=True)
    assert body.keys() <= {*get_type_hints(Body), "top_k", "min_p", "chat_template_kwargs"}


def test_the_bodies_are_of_openais_schema_and_say_what_was_asked():
    with sampler(HONEST) as (served, server):
        served.sample_many(
            [
                (PROBLEMS[:2], Sampling(2, 64, SamplingRule(0.6, 0.95), seed=("a", 1))),
                (PROBLEMS[:1], Sampling(1, 32, GREEDY)),
                (PROBLEMS[:1], Sampling(1, 16, SamplingRule(1.0, 1.0, top_k=20, min_p=0.1))),
            ]
        )
    for body in server.requests:
        check_schema(body)
        assert body["model"] == "m" and "stream" not in body and "n" not in body
    by_limit = {body["max_tokens"]: body for body in server.requests}
    assert {b["seed"] for b in server.requests if b["max_tokens"] == 64} == {
        row_seed(p, Sampling(2, 64, seed=("a", 1)), i) for p in PROBLEMS[:2] for i in (0, 1)
    }
    assert (by_limit[64]["temperature"], by_limit[64]["top_p"]) == (0.6, 0.95)
    assert "top_k" not in by_limit[64] and "min_p" not in by_limit[64]
    assert by_limit[32]["temperature"] == 0 and "top_p" not in by_limit[32]
    assert (by_limit[16]["top_k"], by_limit[16]["min_p"], by_limit[16]["top_p"]) == (20, 0.1, 1.0)


def test_the_schema_that_bodies_are_held_against_refuses_what_is_wrong():
    right = {"model": "m", "messages": [{"role": "user", "content": "u"}]}
    check_schema(right)
    for wrong in ({"model": 3}, {"seed": "x"}, {"n": [1]}, {"max_new_tokens": 8}, {"messages": [{"role": "user"}]},
                  {"messages": [{"role": "tool", "content": "no id"}]},
                  {"messages": [{"role": "critic", "content": ""}]}):  # fmt: skip
        with pytest.raises((ValidationError, AssertionError)):
            check_schema(right | wrong)


TURNS = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant", "tool"]),
        st.text(max_size=8) | st.just("x /think") | st.just("<think>t</think>y"),
    ),
    max_size=5,
)  # fmt: skip


@given(TURNS, st.text(min_size=1, max_size=8), st.sampled_from(list(Mode)), st.booleans())
def test_flags_are_rendered_by_the_saved_template_as_the_prompt_of_a_local_model(turns, last, mode, system):
    messages = (
        [Message("system", "s")] * system + [Message(*turn) for turn in turns] + [Message("user", last)]
    )
    sent = chat_messages(problem(0, mode, *messages), "flag")
    assert [(row["role"], row["content"]) for row in sent] == [
        (r["role"], r["content"]) for r in flagged(messages, mode)
    ]
    assert all(
        row.keys() - {"role", "content"} == ({"tool_call_id"} if row["role"] == "tool" else set())
        for row in sent
    )
    rendered = _compiled().render(messages=sent, tools=None, add_generation_prompt=True)
    assert rendered == render(messages, mode)


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_is_said_in_three_ways(mode):
    asked, sampling = problem(0, mode), Sampling(1, 8)
    flag = {Mode.THINKING: " /think", Mode.INSTRUCT: " /no_think"}[mode]
    assert [chat_messages(asked, by)[0]["content"] for by in ("flag", "kwargs", "none")] == [
        "question 0" + flag
    ] + ["question 0"] * 2
    thinks = {"chat_template_kwargs": {"enable_thinking": mode is Mode.THINKING}}
    assert [options(asked, sampling, by, 0, 1).get("extra_body") for by in ("flag", "kwargs", "none")] == [
        None,
        thinks,
        None,
    ]
    with sampler(HONEST, by="kwargs") as (served, server):
        draw(served, [asked], 1)
    assert server.requests[0]["chat_template_kwargs"] == thinks["chat_template_kwargs"], (
        "at the top of the body"
    )


def test_a_tools_turn_reaches_servers_that_know_no_tools():
    asked = problem(
        0, Mode.INSTRUCT, Message("user", "u"), Message("assistant", "<tool_call>"), Message("tool", "42")
    )
    assert chat_messages(asked, "none")[-1] == {
        "role": "user",
        "content": "<tool_response>\n42\n</tool_response>",
    }


def test_seeds_belong_to_a_sample_and_fit_into_31_bits():
    base = Sampling(4, 8, seed=("a", 1))
    seeds = [row_seed(p, base, i) for p in (*PROBLEMS, problem(0, Mode.THINKING)) for i in range(4)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**31 for seed in seeds)
    assert row_seed(PROBLEMS[0], base, 0) != row_seed(PROBLEMS[0], Sampling(4, 8, seed=("a", 2)), 0)
    # written down: a stored result is repeated by it
    assert row_seed(PROBLEMS[0], base, 0) == 2028994536


# What is read.

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    ("found", "text", "stop"),
    [(choice("4"), "4", Stop.END), (choice("", "stop"), "", Stop.END), (choice("4", "length"), "4", Stop.LENGTH),
     (choice("4", reasoning_content="2+2"), "<think>2+2</think>4", Stop.END),
     (choice("\n\n4", reasoning="\n2+2\n"), "<think>\n2+2\n</think>\n\n4", Stop.END),
     (choice("4", reasoning_content="", reasoning=None), "4", Stop.END),
     (choice(None, "length", reasoning_content="2+"), "<think>2+", Stop.LENGTH),
     (choice("", "stop", reasoning_content="2"), "<think>2</think>", Stop.END),
     (choice([{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]), "42", Stop.END),
     (choice(None, refusal="I can't"), "I can't", Stop.END),
     (choice(None, "tool_calls", tool_calls=[CALL]),
      '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', Stop.END)],
)  # fmt: skip
def test_a_reply_is_put_together_as_the_model_wrote_it(found, text, stop):
    with sampler(reply(found)) as (served, _):
        assert served.sample(PROBLEMS[:1], Sampling(1, 8)) == [(Rollout.of_text(text, stop, 3),)]


def test_reasoning_apart_is_graded_as_reasoning_in_the_text():
    [apart] = rollouts(
        completion(json.dumps(reply(choice("4", reasoning_content="it is 5"))).encode(), Counter())
    )
    assert split_reply(apart.text, Mode.THINKING) == split_reply("<think>it is 5</think>4", Mode.THINKING)
    [cut] = rollouts(completion(json.dumps(reply(choice(None, "length", reasoning="5"))).encode(), Counter()))
    assert split_reply(cut.text, Mode.THINKING).answer is None


@pytest.mark.parametrize("usage", [None, {}, {"completion_tokens": 0}, {"completion_tokens": None},
                                   {"completion_tokens": True}, {"completion_tokens": "3"},
                                   {"completion_tokens": -1}])  # fmt: skip
def test_a_length_that_nobody_told_is_unknown_and_not_nought(usage):
    with sampler(reply(choice("four words are here"), usage=usage)) as (served, _):
        [(found,)] = served.sample(PROBLEMS[:1], Sampling(1, 8))
    assert found.tokens is None
    assert served.client.counts["completion_tokens"] == 0 and served.client.counts["untold"] == 1


# Servers of all kinds.


def test_replies_are_in_order_whatever_the_order_they_come_in():
    later = threading.Event()

    def first_waits(body):
        if "question 3" in said(body):
            later.set()
        # three of four at a time wait for what comes behind them
        assert "question 0 " not in said(body) or later.wait(60)
        return honest(body)

    with sampler(Reply(first_waits)) as (served, server):
        found, heard, error = draw(served, n=3, seed=(5,))
    assert error is None and found == wanted(PROBLEMS, Sampling(3, 64, seed=(5,)))
    assert heard == dict(enumerate(found)) and next(iter(heard)) != 0, "as early as they are whole"
    assert server.most == QUICK.parallel
    counts = served.client.counts
    assert (counts["requests"], counts["prompt_tokens"], counts["completion_tokens"]) == (36, 36 * 7, 36 * 3)
    assert counts["retries"] == counts["faults"] == 0 and len(server.requests) == 36


def test_several_samples_in_one_request_where_the_prompt_is_paid_for():
    with sampler(HONEST, together=8) as (served, server):
        found, _, _ = draw(served, n=10)
    assert {body.get("n") for body in server.requests} == {8, 2} and len(server.requests) == 24
    assert all(len(set(group)) == 10 and {r.tokens for r in group} == {None} for group in found)


def test_servers_that_ignore_n_are_asked_again():
    with sampler(Reply(lambda body: reply(choice(said(body)))), together=3) as (served, server):
        found, _, _ = draw(served, n=3)
    assert found == wanted(PROBLEMS, Sampling(3, 64)) and len(server.requests) == 36


def test_choices_that_are_too_many_are_not_counted():
    with sampler(Reply(lambda body: reply(*[choice(said(body))] * 5)), together=2) as (served, _):
        assert [len(group) for group in draw(served, n=4)[0]] == [4] * 12


def refusing(text, code=400):
    body = json.dumps({"error": {"message": text, "type": "invalid_request_error"}}).encode()
    return lambda handler: send(handler, code, body)


@pytest.mark.parametrize(
    ("name", "instead", "text"),
    [("n", None, "Only one completion choice is allowed"), ("n", None, "n must be 1"),
     ("seed", None, "Unsupported parameter: 'seed'"),
     ("seed", None, '[{"type":"extra_forbidden","loc":["body","seed"]}]'),
     ("max_tokens", "max_completion_tokens",
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")],
)  # fmt: skip
def test_what_a_server_refuses_and_changes_no_reply_is_said_otherwise(name, instead, text):
    script = Reply(
        lambda body: refusing(text, 422 if "[" in text else 400) if name in body else reply(choice("ok"))
    )
    with sampler(script, together=2) as (served, server):
        found, _, error = draw(served, n=4)
    assert error is None and [len(group) for group in found] == [4] * 12
    assert served.described()["refused"] == [name]
    refused = [body for body in server.requests if name in body]
    assert len(refused) <= QUICK.parallel, "learnt once"
    assert all((instead in body) == (name not in body) for body in server.requests if instead)


def test_a_limit_that_is_too_large_is_no_reason_to_send_none():
    text = (
        "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 32"
    )
    with sampler(refusing(text)) as (served, server):
        _, heard, error = draw(served)
    assert not heard and "too large: 64" in error and all("max_tokens" in body for body in server.requests)


def test_temperature_is_never_left_out():
    with sampler(refusing("Unsupported value: 'temperature' does not support 0.6")) as (served, server):
        assert "no reply to 12 of 12" in draw(served)[2]
    assert all("temperature" in body for body in server.requests)


# Faults.

TROUBLES = {
    "500": status(500), "503": status(503), "429": status(429), "reset": drop, "cut": cut_short, "hang": hang, "drip": drip,
    "head": drip_head, "html": lambda h: send(h, 200, b"<html>"), "list": lambda h: send(h, 200, b"[]"),
    "half": lambda h: send(h, 200, b'{"choices": [{'), "bytes": lambda h: send(h, 200, b"\xff\xfe"),
    "deep": lambda h: send(h, 200, b"[" * 100_000), "none": {"nothing": 1}, "no choices": {"choices": []},
    "no message": {"choices": [{"finish_reason": "stop"}]}, "null": reply(choice(None)), "number": reply(choice(3)),
    "unended": reply(choice("half a repl", None)), "aborted": reply(choice("half a repl", "abort")),
    "error": {"error": {"message": "overloaded"}, "choices": None},
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_passes_is_asked_again_and_nothing_is_lost_or_counted_twice(trouble):
    # a busy machine may be slow, too: then more is asked, and no less comes
    slow = trouble in ("hang", "drip", "head")
    terms = Terms(timeout_s=1.0 if slow else 60, attempts=8, backoff_s=0.01, parallel=4)
    script = [TROUBLES[trouble], HONEST, HONEST, TROUBLES[trouble], HONEST]
    with sampler(*script, terms=terms) as (served, server):
        found, heard, error = draw(served)
    assert error is None and found == wanted(PROBLEMS, Sampling(2, 64)) and heard == dict(enumerate(found))
    counts = served.client.counts
    assert counts["requests"] == len(server.requests) == 24 + counts["retries"]
    assert counts["retries"] == counts["faults"] >= 2 and (slow or counts["faults"] == 2)
    assert counts["completion_tokens"] >= 24 * 3


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_does_not_pass_is_no_reply_and_no_score(trouble):
    timeout_s = 1.5 if trouble in ("hang", "drip", "head") else 60
    terms = Terms(timeout_s=timeout_s, attempts=2, backoff_s=0.01, parallel=4)
    script = Reply(lambda body: TROUBLES[trouble] if "question 7" in said(body) else honest(body))
    with sampler(script, terms=terms) as (served, _):
        found, heard, error = draw(served)
        assert found is None and heard == {
            i: g for i, g in enumerate(wanted(PROBLEMS, Sampling(2, 64))) if i != 7
        }
        assert "no reply to 1 of 12 prompts" in error and "p7" in error and "the same command" in error
        assert timeout_s == 60 or "no answer within 1.5 s, 2 times" in error
        with pytest.raises(ServerFailure, match="1 of 3 prompts"):
            served.sample_many([(PROBLEMS[:2], Sampling(1, 8)), (PROBLEMS[7:8], Sampling(1, 8))])


def test_a_reply_that_a_filter_withheld_is_none_and_is_not_asked_for_again():
    with sampler(reply(choice("", "content_filter"))) as (served, server):
        _, heard, error = draw(served, PROBLEMS[:2], 1)
    assert not heard and "2 x the server's filter withheld the reply" in error and len(server.requests) == 2


def test_the_rest_of_a_group_that_can_not_be_whole_is_not_paid_for():
    with sampler(status(400), terms=Terms(parallel=1)) as (served, server):
        assert "no reply to 2 of 2" in draw(served, PROBLEMS[:2], 50)[2]
    assert len(server.requests) == 2


@pytest.mark.parametrize("code", [401, 403, 402, 404])
def test_what_holds_for_every_question_ends_it_at_once(code):
    with sampler(HONEST, HONEST, status(code), terms=Terms(parallel=1)) as (served, server):
        _, heard, error = draw(served, n=1)
    assert list(heard) == [0, 1] and len(server.requests) == 3
    assert f"10 were given up: HTTP {code}" in error


def test_no_money_comes_as_429_and_waiting_does_not_help():
    broke = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    with sampler(lambda h: send(h, 429, json.dumps(broke).encode()), terms=Terms(parallel=1)) as (
        served,
        server,
    ):
        assert "exceeded your current quota" in draw(served)[2]
    assert len(server.requests) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_has_a_size(packed):
    def bomb(handler):
        data = gzip.compress(b" " * 20_000_000)
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    for code in (200, 500):
        trouble = bomb if packed else flood
        if code == 500 and not packed:

            def trouble(handler):
                send(handler, 500, b" " * 20_000_000)

        with sampler(trouble, terms=Terms(parallel=1)) as (served, server):
            assert "the answer is too long" in draw(served, PROBLEMS[:1], 1)[2]
        assert len(server.requests) == 1


def test_packed_answers_of_servers_that_were_asked_for_none_are_read():
    def packed(handler):
        data = gzip.compress(json.dumps(reply(choice("ok"))).encode())
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    with sampler(packed) as (served, _):
        assert served.sample(PROBLEMS[:1], Sampling(1, 8))[0][0].text == "ok"


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    served = ServerSampler(ChatClient(url, "m", terms=QUICK))
    assert "Refused" in draw(served, PROBLEMS[:1])[2]
    with pytest.raises(ServerFailure, match="Refused"):
        open_sampler(Served(url), ServedSettings(QUICK))


# Budgets.


def test_the_budget_of_requests_ends_the_run_and_what_was_paid_for_is_kept():
    terms = Terms(parallel=4, most_requests=10)
    with sampler(HONEST, terms=terms) as (served, server):
        _, heard, error = draw(served, n=1)
        assert len(server.requests) == 10 and len(heard) == 10
        assert "2 were given up: the budget of 10 requests is spent" in error
        assert "the budget of 10 requests is spent" in draw(served, n=1)[2], (
            "over the whole life of the client"
        )
        assert len(server.requests) == 10


def test_the_budget_of_faults_ends_a_run_that_fails_and_lets_a_large_one_stumble():
    terms = Terms(attempts=2, backoff_s=0.0, parallel=2, most_faults=5)
    with sampler(status(500), terms=terms) as (served, server):
        error = draw(served, [problem(i) for i in range(200)], 1)[2]
    assert 5 < len(server.requests) <= 8 and "failed, more than 5 and more than one in ten" in error
    script = [status(500) if i % 20 == 0 else HONEST for i in range(400)]
    with sampler(*script, terms=terms) as (served, server):
        assert draw(served, [problem(i) for i in range(300)], 1)[2] is None
    assert served.client.counts["faults"] > 5


def test_retry_after_holds_for_all_who_ask_and_is_bounded():
    answered, moments = [], []

    def busy(handler):
        handler.send_response(429)
        handler.send_header("Retry-After", "0.5")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        answered.append(time.monotonic())

    def then(body):
        moments.append(time.monotonic())
        return honest(body)

    with sampler(busy, Reply(then), terms=Terms(backoff_s=0.01, parallel=2)) as (served, _):
        assert draw(served, n=1)[2] is None
    # what was under way when it said so may still come; all else waits
    early = [moment for moment in moments if answered[0] < moment < answered[0] + 0.4]
    assert len(moments) == 12 and len(early) <= 4
    assert moments[-1] - answered[0] >= 0.4
    assert [_retry_after(text) for text in ("3", "1e9", "nan", "inf", "-1", "soon", "", None)] == [
        3,
        120,
        0,
        120,
        0,
        0,
        0,
        0,
    ]
    assert (
        _retry_after("Fri, 01 Jan 2100 00:00:00 GMT") == 120
        and _retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    )


def test_bad_terms_are_told_all_at_once():
    with pytest.raises(InputError, match=r"timeout_s must be .*attempts must be .*parallel must be"):
        Terms(timeout_s=float("nan"), attempts=0, parallel=0)
    with pytest.raises(InputError, match="most_requests must be 1 or more"):
        Terms(most_requests=0)
    with pytest.raises(InputError, match="flag, kwargs, none"):
        ServedSettings(mode_by="flags")


@pytest.mark.parametrize("fault", [OSError("no room"), Interrupted("asked to stop")])
def test_a_fault_of_who_listens_is_not_taken_for_the_servers(fault):
    def full(index, group):
        raise fault

    with sampler(HONEST) as (served, _), pytest.raises(type(fault)) as raised:
        served.sample(PROBLEMS, Sampling(1, 8), full)
    assert raised.value is fault


# Keys.


def test_the_key_goes_to_the_server_and_nobody_else(monkeypatch):
    others = {"OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj", "OPENAI_ADMIN_KEY": "adm", "OPENAI_BASE_URL": "http://x",
              "OPENAI_CUSTOM_HEADERS": "X-Secret: other"}  # fmt: skip
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with Server(HONEST) as elsewhere:
        monkeypatch.setenv("HTTP_PROXY", elsewhere.url)
        monkeypatch.setenv("ALL_PROXY", elsewhere.url)

        def away(handler):
            handler.send_response(307)
            handler.send_header("Location", f"{elsewhere.url}/chat/completions")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with sampler(HONEST, away, terms=Terms(parallel=1), key="s3cret") as (served, server):
            _, heard, error = draw(served, n=1)
        assert list(heard) == [0] and elsewhere.url in error and "is not followed" in error
        assert not elsewhere.requests and not elsewhere.gets
    for _, headers in server.headers:
        assert set(headers) == {
            "Host",
            "Content-Type",
            "Content-Length",
            "Accept",
            "Accept-Encoding",
            "Authorization",
        }
        assert headers["Authorization"] == "Bearer s3cret"


def test_a_key_that_a_server_sends_back_is_not_shown():
    def echo(handler):
        send(handler, 401, b"bad key: " + handler.headers["Authorization"].encode())

    with sampler(echo, key="s3cret") as (served, _):
        error = draw(served)[2]
    assert "bad key: Bearer ***" in error and "s3cret" not in error
    assert "s3cret" not in repr(served.described())


LISTED = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]}


@pytest.mark.parametrize(
    ("url", "sent"),
    [("http://127.0.0.1:1/v1", True), ("http://localhost/v1", True), ("http://[::1]:8/v1", True),
     ("https://api.example/v1", True), ("http://10.0.0.7/v1", False), ("http://node7:8000/v1", False),
     ("http://127.0.0.1.example/v1", False)],
)  # fmt: skip
def test_the_usual_key_goes_unasked_only_where_nobody_reads_it_on_the_way(url, sent, monkeypatch):
    asking = ServedSettings(mode_by="none")
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    assert open_sampler(Served(url, "m"), asking).client._key == ("usual" if sent else None)
    monkeypatch.setenv("LAB_KEY", "lab")
    named = ServedSettings(mode_by="none", key_variable="LAB_KEY")
    assert open_sampler(Served(url, "m"), named).client._key == "lab"
    monkeypatch.delenv("LAB_KEY")
    with pytest.raises(InputError, match="environment variable LAB_KEY"):
        open_sampler(Served(url, "m"), named)


@pytest.mark.parametrize(
    ("url", "status", "key", "advice"),
    [("http://node7/v1", 401, "usual", "unless you name it yourself"), ("http://node7/v1", 401, "", "set OPENAI_API_KEY"),
     ("https://h/v1", 401, "usual", "set OPENAI_API_KEY"), ("http://node7", 404, "", "http://node7/v1"),
     ("http://node7/v1", 404, "", ""), ("http://node7/v1", 400, "usual", "")],
)  # fmt: skip
def test_a_refusal_is_told_with_its_mend(url, status, key, advice, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    told = _advice(url, status)
    assert advice in told if advice else told == ""


# Opening.


@pytest.mark.parametrize(
    ("text", "found"),
    [("openai:http://127.0.0.1:8000/v1#my-model", Served("http://127.0.0.1:8000/v1", "my-model")),
     ("openai:https://api.example/v1/", Served("https://api.example/v1")),
     ("openai:http://h/v1#org/name:free@2#x", Served("http://h/v1", "org/name:free@2#x")),
     ("runs/tiny/checkpoint", None), ("openai/gpt", None), ("ORG/NAME@main", None)],
)  # fmt: skip
def test_an_address_is_read_and_written(text, found):
    assert parse_served(text) == found
    assert found is None or parse_served(str(found)) == found


@pytest.mark.parametrize(
    ("text", "mend"),
    [("openai:", "such as openai:http"), ("openai:127.0.0.1:8000/v1#m", "such as openai:http"), ("openai:gpt-5", "such as"),
     ("openai:http://h/v1#", "ends before the model's name"), ("openai:http://#m", "such as"), ("openai:http://[/v1", "such as"),
     ("openai:http://h/v1/chat/completions#m", "all its paths begin with"), ("openai:http://h/v1?key=1#m", "begin with"),
     ("openai:http://me:s3cret@h/v1#m", "environment variable")],
)  # fmt: skip
def test_a_bad_address_is_told_with_its_mend(text, mend):
    with pytest.raises(InputError, match=re.escape(mend)) as told:
        parse_served(text)
    assert "s3cret" not in str(told.value)


def listing(*entries):
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "owned_by": owner} for name, owner in entries],
    }


@pytest.mark.parametrize(
    ("models", "named", "by", "mode_by", "model"),
    [(listing(("m", "cascade-rl")), None, None, "flag", "m"), (listing(("m", "vllm")), None, None, "none", "m"),
     (listing(("a", "x"), ("m", "cascade-rl")), "m", None, "flag", "m"),
     (listing(("a", "cascade-rl"), ("m", "x")), "m", None, "none", "m"),
     (listing(("m", "cascade-rl")), None, "kwargs", "kwargs", "m"), (None, "m", None, "none", "m"),
     (status(405), "m", None, "none", "m")],
)  # fmt: skip
def test_model_and_mode_come_from_the_list_of_the_server(models, named, by, mode_by, model):
    with Server(HONEST, models=models) as server:
        served = open_sampler(Served(server.url, named), ServedSettings(QUICK, mode_by=by))
        served.sample(PROBLEMS[:1], Sampling(1, 8))
    assert (served.mode_by, served.client.model, server.requests[0]["model"]) == (mode_by, model, model)
    assert served.described()["server"] == server.url


@pytest.mark.parametrize(
    ("models", "error", "mend"),
    [(listing(("b", "x"), ("a", "x")), InputError, "lists a, b: name one, as in openai:http"),
     (listing(), InputError, "lists no model"), (None, InputError, "HTTP 404"), (status(401), InputError, "set OPENAI_API_KEY"),
     (status(500), ServerFailure, "HTTP 500"), ({"data": [{"name": "x"}]}, ServerFailure, "no list of models")],
)  # fmt: skip
def test_a_server_that_does_not_tell_its_model(models, error, mend):
    with Server(HONEST, models=models) as server, pytest.raises(error, match=re.escape(mend)):
        open_sampler(Served(server.url), ServedSettings(QUICK))
    assert not server.requests


def test_it_can_not_be_called_where_a_loop_runs():
    async def inside(served):
        served.sample(PROBLEMS[:1], Sampling(1, 8))

    with sampler(HONEST) as (served, server), pytest.raises(RuntimeError, match="running"):
        asyncio.run(inside(served))
    assert not server.requests


def test_the_example_of_the_page_works(capsys):
    page = (Path(__file__).parent.parent / "docs" / "served.md").read_text()
    code = next(
        code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "open_sampler" in code
    )
    with Server(HONEST, models=listing(("my-model", "cascade-rl"))) as server:
        exec(code, {"address": f"openai:{server.url}"})
    assert "What is 3 + 4? /no_think by" in capsys.readouterr().out


def test_the_page_tells_the_settings_as_they_are():
    page = (Path(__file__).parent.parent / "docs" / "served.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w.]+) \|", page, re.MULTILINE))
    told = {
        name: None if value == "none" else float(value)
        for name, value in rows.items()
        if name in Terms.__slots__
    }
    assert told == asdict(TERMS)
