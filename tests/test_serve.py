"""The server says what the sampler says: asked through OpenAI's own client, checked against transformers."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import numpy_truncated
from test_tokenizers_families import gemma, gpt2, llama2
from tiny import SHAPE, random_flat, tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import scratch_config
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.rollout.streaming import Ask, Part, Token
from cascade_rl.rollout.world import Engine, World, open_world
from cascade_rl.serve import batches
from cascade_rl.serve.address import listen, url
from cascade_rl.serve.run import Listener, listener_of, served
from cascade_rl.serve.text import Spelling, Stops
from cascade_rl.types import Message, Mode, Problem, Split, problem_id

NAME = "tiny/01-sft"
LIMIT = 40


def make_model(folder: Path, positions: int = 4096) -> Path:
    """A random model with many end marks, so that replies end at all lengths."""
    tok = tokenizer()
    shape = SHAPE.model_copy(update={"max_position_embeddings": positions})
    raw = scratch_config(shape, len(tok.inner), tok.end_id, tok.pad_id)
    config = DecoderConfig.from_hf(raw)
    export(folder, raw, config, random_flat(config, seed=3), tok)
    told = json.loads((folder / "generation_config.json").read_text())
    ends = [tok.end_id, *range(20, 28)]
    (folder / "generation_config.json").write_text(json.dumps({**told, "eos_token_id": ends}))
    return folder


@dataclass
class Running:
    """A server in this process, in threads of its own."""

    url: str
    listener: Listener
    world: World
    lines: list[str]
    loop: asyncio.AbstractEventLoop

    def call(self, function, *arguments) -> None:
        """From the thread of the server."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def client(self, **options) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, **options)

    def ask(self, content: str, **options):
        options = {"temperature": 0, "max_tokens": LIMIT, **options}
        messages = [{"role": "user", "content": content}]
        return self.client().chat.completions.create(model=NAME, messages=messages, **options)


@contextmanager
def running(folder: Path, key: str | None = None, **engine) -> Iterator[Running]:
    with listen("127.0.0.1", 0) as listening, open_world(folder, Engine(**engine)) as world:
        torch.set_num_threads(1)
        lines: list[str] = []
        with served(world, NAME) as found:
            listener = listener_of(found, key, lines.append)
            loop = asyncio.new_event_loop()
            serving = listener.serve(sockets=[listening])
            thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
            thread.start()
            try:
                yield Running(url(listening), listener, world, lines, loop)
            finally:
                loop.call_soon_threadsafe(listener.stop, True)
                thread.join()
        loop.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("serve") / "model")


@pytest.fixture(scope="module")
def server(model) -> Iterator[Running]:
    with running(model) as found:
        yield found


def problems() -> list[Problem]:
    """Two of each of four domains, in both modes."""
    found = []
    for name in ("maths", "following", "multiple_choice", "alignment"):
        made = load_domain(name).problems("builtin", Split.HELDOUT, 0)
        found += [next(made).in_mode(mode) for mode in Mode for _ in range(2)]
    return found


def sent(problem: Problem) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in problem.messages]


def asked_by_flag(problem: Problem) -> dict:
    messages = sent(problem)
    messages[-1]["content"] += " /think" if problem.mode is Mode.THINKING else " /no_think"
    return {"messages": messages}


def asked_by_argument(problem: Problem) -> dict:
    thinking = problem.mode is Mode.THINKING
    return {"messages": sent(problem), "extra_body": {"chat_template_kwargs": {"enable_thinking": thinking}}}


@pytest.mark.parametrize("way", [asked_by_flag, asked_by_argument])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_greedy_replies_are_the_samplers_whoever_else_is_in_the_batch(server, model, way, streamed):
    asked = problems()
    with open_world(model, Engine()) as world:
        wanted = world.sampler.sample(asked, Sampling(1, LIMIT, GREEDY))
    client = server.client()

    def reply(problem: Problem):
        options = {"model": NAME, "temperature": 0, "max_tokens": LIMIT, **way(problem)}
        if not streamed:
            return client.chat.completions.create(**options)
        return whole(client.chat.completions.create(stream=True, **options))

    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(reply, asked))
    for (rollout,), each in zip(wanted, found, strict=True):
        (choice,) = each.choices
        assert choice.message.content == rollout.text
        assert choice.finish_reason == {"end": "stop", "length": "length"}[rollout.stop]
        if not streamed:
            assert each.usage.completion_tokens == len(rollout.ids)
            assert each.usage.prompt_tokens == len(rollout.prompt_ids)
    assert {c.choices[0].finish_reason for c in found} == {"stop", "length"}, "both ends are needed here"


def whole(stream):
    """A stream put together as OpenAI's own helper does it, with the parts checked on their way."""
    from openai.lib.streaming.chat import ChatCompletionStreamState

    state = ChatCompletionStreamState()
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk" and chunk.model == NAME
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def test_sampled_replies_are_the_samplers_for_the_same_seed(server, model):
    rule = SamplingRule(0.6, 0.95, 30, 0.01)
    for problem in problems()[::3]:
        name = problem_id("chat", [[m.role, m.content] for m in problem.messages])
        with open_world(model, Engine()) as world:
            [group] = world.sampler.sample([replace(problem, id=name)], Sampling(3, LIMIT, rule, seed=(7,)))
        body = asked_by_argument(problem)
        body["extra_body"] |= {"top_k": 30, "min_p": 0.01}
        found = server.client().chat.completions.create(
            model=NAME, temperature=0.6, top_p=0.95, n=3, seed=7, max_completion_tokens=LIMIT, logprobs=True, **body
        )  # fmt: skip
        assert [c.message.content for c in found.choices] == [r.text for r in group]
        assert [c.index for c in found.choices] == [0, 1, 2]
        for choice, rollout in zip(found.choices, group, strict=True):
            assert [t.logprob for t in choice.logprobs.content] == pytest.approx(rollout.logprobs, abs=1e-5)
        assert found.usage.completion_tokens == sum(len(r.ids) for r in group)


def test_prompts_are_what_transformers_writes(server, model):
    """Flags, a system prompt, earlier turns and a tool's: the ids are those of the exported template."""
    theirs = AutoTokenizer.from_pretrained(model)
    talks = [
        [{"role": "user", "content": "Name the sea."}],
        [{"role": "user", "content": "Name the sea. /no_think"}],
        [{"role": "user", "content": "a /no_think /think"}],
        [{"role": "user", "content": "/no_think"}, {"role": "assistant", "content": "<think>\nb\n</think>\n\nc"},
         {"role": "user", "content": "d /think"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a /no_think"},
         {"role": "assistant", "content": "<think>b"}, {"role": "tool", "content": "12"}],
    ]  # fmt: skip
    for messages in talks:
        wanted = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)[
            "input_ids"
        ]
        found = server.client().chat.completions.create(
            model=NAME, messages=messages, temperature=0, max_tokens=1
        )
        assert found.usage.prompt_tokens == len(wanted)
        # and not only as long: the reply goes on from just that text
        with torch.no_grad():
            scores = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([wanted])).logits[0, -1]
        logprobs = server.client().chat.completions.create(
            model=NAME, messages=messages, temperature=0, max_tokens=1, logprobs=True, top_logprobs=5
        )  # fmt: skip
        (told,) = logprobs.choices[0].logprobs.content
        best = scores.log_softmax(-1).topk(5)
        assert [t.logprob for t in told.top_logprobs] == pytest.approx(best.values.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "rule", [(1.0, 1.0, 0, 0.0), (0.6, 0.95, 0, 0.0), (1.3, 1.0, 12, 0.05), (0.0, 1.0, 0, 0.0)]
)
def test_log_probabilities_are_those_of_transformers(server, model, rule):
    """Of every token and of the likeliest beside it, computed again by transformers from the ids alone."""
    temperature, top_p, top_k, min_p = rule
    found = server.ask("Name the snow.", temperature=temperature, top_p=top_p, seed=5, logprobs=True,
                       top_logprobs=6, extra_body={"top_k": top_k, "min_p": min_p})  # fmt: skip
    tok = AutoTokenizer.from_pretrained(model)
    prompt = tok.apply_chat_template([{"role": "user", "content": "Name the snow."}], add_generation_prompt=True,
                                     return_dict=True)["input_ids"]  # fmt: skip
    with open_world(model, Engine()) as world:
        name = problem_id("chat", [["user", "Name the snow."]])
        problem = Problem(name, "chat", (Message("user", "Name the snow."),), None)
        [[rollout]] = world.sampler.sample([problem], Sampling(1, LIMIT, SamplingRule(*rule), seed=(5,)))
    told = found.choices[0].logprobs.content
    assert len(told) == len(rollout.ids) == found.usage.completion_tokens
    with torch.no_grad():
        rows = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([[*prompt, *rollout.ids]])).logits[0]
    for each, token, row in zip(told, rollout.ids, rows[len(prompt) - 1 : -1].numpy(), strict=True):
        whole = (1.0, 1.0, 0, 0.0) if temperature == 0 else rule
        p = np.asarray(numpy_truncated(row, *whole))
        assert each.logprob == pytest.approx(math.log(p[token]), abs=1e-3)
        assert each.token == tok.decode([token])
        best = np.sort(p)[::-1][:6]
        best = best[best > 0]
        assert [math.exp(t.logprob) for t in each.top_logprobs] == pytest.approx(best.tolist(), abs=1e-4)
        if "\ufffd" not in each.token:
            assert bytes(each.bytes).decode() == each.token


def test_a_seed_decides_the_reply_and_without_one_replies_differ(server):
    texts = [server.ask("Name the sea.", temperature=1, seed=3).choices[0].message.content for _ in range(2)]
    assert texts[0] == texts[1]
    free = [server.ask("Name the sea.", temperature=1) for _ in range(6)]
    assert len({each.choices[0].message.content for each in free}) > 1
    # the seed that was taken is told, and draws the same again
    again = server.ask("Name the sea.", temperature=1, seed=free[0].seed)
    assert again.choices[0].message.content == free[0].choices[0].message.content


def test_a_stop_text_ends_a_reply_before_it(server):
    plain = server.ask("Name the grass.", temperature=1, seed=1, n=4)
    for choice in plain.choices:
        text = choice.message.content
        if len(text) < 8 or "\ufffd" in text:
            continue
        stop = text[4:7]
        wanted = text[: text.index(stop)]
        for streamed in (False, True):
            asked = {"temperature": 1, "seed": 1, "n": 4, "stop": ["never in there", stop]}
            found = server.ask("Name the grass.", stream=streamed, **asked)
            found = whole(found) if streamed else found
            own = found.choices[choice.index]
            assert (own.message.content, own.finish_reason) == (wanted, "stop")
            if not streamed:
                assert found.usage.completion_tokens < plain.usage.completion_tokens
        break
    else:
        raise AssertionError("no reply of readable text")


def test_the_last_chunk_has_the_usage_where_it_is_asked_for(server):
    alone = server.ask("Name the sky.", n=2, temperature=1, seed=2)
    chunks = list(server.ask("Name the sky.", n=2, temperature=1, seed=2, stream=True,
                             stream_options={"include_usage": True}))  # fmt: skip
    *others, last = chunks
    assert last.choices == [] and last.usage == alone.usage
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in others)
    assert [c.choices[0].delta.role for c in others[:2]] == ["assistant", "assistant"]
    assert len(others) > 8, "tokens come one by one"
    bare = list(server.ask("Name the sky.", stream=True))
    assert bare[-1].choices[0].finish_reason and all(chunk.usage is None for chunk in bare)


class Gate:
    """Lets a server decode step by step: `steps` counts what the sampler told, `open` lets it go on."""

    def __init__(self, server: Running, monkeypatch) -> None:
        self.open, self.waits, self.steps = threading.Event(), threading.Event(), 0
        stream = server.world.sampler.stream

        def gated(asked, heard):
            def slowly(parts):
                self.steps += 1
                found = heard(parts)
                if not self.open.is_set():
                    self.waits.set()
                    assert self.open.wait(60)
                return found

            stream(asked, slowly)

        monkeypatch.setattr(server.world.sampler, "stream", gated)


def test_the_first_token_is_there_before_the_second_is_drawn(server, monkeypatch):
    gate = Gate(server, monkeypatch)
    stream = server.ask("Name the sky.", stream=True)
    parts = [next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)]
    assert gate.steps == 1
    gate.open.set()
    parts += [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(parts) == server.ask("Name the sky.").choices[0].message.content and len(parts) > 3


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_who_hangs_up_blocks_nobody(server, monkeypatch, streamed):
    """In the middle of replies that would be long: their rows are given up, and the next in line is answered."""
    gate = Gate(server, monkeypatch)
    body = {"model": NAME, "messages": [{"role": "user", "content": "Name the sea."}], "n": 8, "temperature": 0,
            "max_tokens": 3500, "stream": streamed}  # fmt: skip
    with httpx2.Client(timeout=60) as client, ThreadPoolExecutor(1) as pool:
        if streamed:
            with client.stream("POST", f"{server.url}/chat/completions", json=body) as response:
                lines = response.iter_lines()  # held: the connection is closed with it
                next(lines)
                assert gate.waits.wait(60)
        else:
            left = socket.create_connection(server.url.split("/")[2].split(":"))
            text = json.dumps(body)
            left.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
            )
            assert gate.waits.wait(60)
            left.close()
        wait_for(lambda: server.listener.batches.requests == 0)
        other = pool.submit(server.ask, "Name the snow.", max_tokens=3)
        wait_for(lambda: server.listener.batches.requests == 1)
        gate.open.set()
        assert other.result().choices[0].message.content is not None
    assert gate.steps <= 2 + 3, "of its 3,500 steps there is one more, at which its rows are given up"
    assert any(line.startswith("499 8 x thinking") for line in server.lines)


def test_who_stops_the_server_answers_what_is_open(model, monkeypatch):
    with running(model) as found, ThreadPoolExecutor(2) as pool:
        gate = Gate(found, monkeypatch)
        open_ones = [
            pool.submit(found.ask, "Name the sky.", seed=1),
            pool.submit(stream_of, found, "Name the sky."),
        ]
        assert gate.waits.wait(60)
        wait_for(lambda: found.listener.batches.requests == 2)
        found.call(found.listener.stop)
        gate.open.set()
        whole_one, streamed = (one.result() for one in open_ones)
        assert whole_one.choices[0].message.content == streamed.choices[0].message.content
        assert streamed.choices[0].finish_reason
        # refused, or nobody listens any more
        with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
            found.ask("a")


def test_what_is_open_at_the_end_is_told_so(model, monkeypatch):
    """By a second Ctrl-C: an error, and never half a reply that looks like a whole one."""
    with running(model) as found, ThreadPoolExecutor(2) as pool:
        gate = Gate(found, monkeypatch)
        open_ones = [
            pool.submit(found.ask, "Name the sky.", seed=1),
            pool.submit(stream_of, found, "Name the sky."),
        ]
        assert gate.waits.wait(60)
        wait_for(lambda: found.listener.batches.requests == 2)
        found.call(found.listener.stop)
        found.call(found.listener.stop, True)
        with pytest.raises(openai.InternalServerError, match="server is stopping"):
            open_ones[0].result()
        with pytest.raises(openai.APIError, match="server is stopping"):
            open_ones[1].result()
        gate.open.set()


def stream_of(server: Running, content: str):
    return whole(server.ask(content, stream=True))


def wait_for(state, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_the_example_of_the_guide_works(server, capsys):
    guide = (Path(__file__).parent.parent / "docs/served.md").read_text()
    code = re.search(r"## Serve a checkpoint.*?```python\n(.*?)```", guide, re.DOTALL).group(1)
    for told, here in (("http://127.0.0.1:8000/v1", server.url), ("tiny/08-swe-rl", NAME)):
        assert told in code
        code = code.replace(told, here)
    assert ", stream=True" in code
    printed, whole = [], []
    for seed in range(3):  # a random model may end at once
        exec(code.replace(", stream=True", f", stream=True, seed={seed}"), {})
        printed.append(capsys.readouterr().out)
        names: dict[str, Any] = {}
        exec(code.partition("for chunk")[0], names)
        reply = names["client"].chat.completions.create(
            model=NAME, messages=names["asked"], max_tokens=256, seed=seed
        )
        whole.append(reply.choices[0].message.content)
    assert printed == whole and any(printed)


def refused(server, status: int, **body) -> dict:
    whole = {"model": NAME, "messages": [{"role": "user", "content": "a"}], "max_tokens": 2, **body}
    found = httpx2.post(
        f"{server.url}/chat/completions", json={k: v for k, v in whole.items() if v != "absent"}
    )
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


REFUSED = [
    ({"tools": [{"type": "function"}]}, "tools", "not served here"),
    ({"response_format": {"type": "json_object"}}, "response_format", "not served here"),
    ({"audio": {}}, "audio", "not served here"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "not served here"),
    ({"presence_penalty": 0.5}, "presence_penalty", "not served here"),
    ({"temprature": 0.5}, "temprature", "did you mean temperature?"),
    ({"temperature": "0.5"}, "temperature", "valid number"),
    ({"temperature": -1}, "temperature", "greater than or equal to 0"),
    ({"temperature": True}, "temperature", "valid number"),
    ({"top_p": 0}, "top_p", "greater than 0"),
    ({"n": 0}, "n", "greater than or equal to 1"),
    ({"n": 100000}, "n", "less than or equal to 128"),
    ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "another number"),
    ({"stop": ["a"] * 17}, "stop", "at most 16"),
    ({"stop": ""}, "stop", "at least 1 character"),
    ({"top_logprobs": 2}, "top_logprobs", "without logprobs"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "without stream"),
    ({"chat_template_kwargs": {"enable_thinking": 1}}, "chat_template_kwargs.enable_thinking", "boolean"),
    ({"chat_template_kwargs": {"thinking": True}}, "chat_template_kwargs.thinking", "not permitted"),
    ({"messages": []}, "messages", "at least 1 item"),
    ({"messages": "absent"}, "messages", "required"),
    ({"model": "absent"}, "model", "required"),
    ({"messages": [{"role": "king", "content": "a"}]}, "messages.0.role", "none of system"),
    ({"messages": [{"role": "user"}]}, "messages.0.content", "null"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content", "no text"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages", "last one"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user",
      "content": "c"}]}, "messages", "can not stand here"),
    ({"messages": [{"role": "assistant", "content": "b", "tool_calls": [{}]}, {"role": "user", "content": "c"}]},
     "messages.0", "tool_calls"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "text"), REFUSED, ids=[str(r[0])[:60] for r in REFUSED])
def test_what_is_not_served_is_refused_in_openais_form(server, body, param, text):
    error = refused(server, 400, **body)
    assert error["param"] == param and text in error["message"] and error["type"] == "invalid_request_error"


def test_harmless_fields_are_ignored_and_null_is_absent(server):
    plain = server.ask("Name the sea.").choices[0].message.content
    told = server.ask("Name the sea.", user="me", metadata={"a": "b"}, store=False, tools=[], presence_penalty=0,
                      response_format={"type": "text"}, stop=None, logit_bias={}, modalities=["text"])  # fmt: skip
    assert told.choices[0].message.content == plain


def test_all_that_is_wrong_is_told_at_once(server):
    error = refused(server, 400, n=0, stop=[3], tools=[1], messages=[{"role": "x", "content": 1}])
    for path in ("n: ", "stop: ", "tools: ", "messages.0.role: ", "messages.0.content: "):
        assert path in error["message"]


def test_other_errors_have_their_status(server, model):
    with pytest.raises(openai.NotFoundError) as found:
        server.client().chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "a"}])
    assert found.value.code == "model_not_found" and NAME in str(found.value)
    for body in (b"{", b"[]", b'{"model": NaN}', b"\xff", b"[" * 10**5, b'{"\\ud800": 1}'):
        answer = httpx2.post(f"{server.url}/chat/completions", content=body)
        assert answer.status_code == 400 and answer.json()["error"]["message"]
    assert httpx2.post(f"{server.url}/chat/completions", content=b"x" * 8_000_001).status_code == 413
    assert httpx2.get(f"{server.url}/completions").json()["error"]["type"] == "not_found_error"
    assert httpx2.get(f"{server.url}/chat/completions").status_code == 405


def test_a_talk_over_the_context_is_refused_by_its_numbers(server):
    long = "a " * 5000
    error = refused(server, 400, messages=[{"role": "user", "content": long}])
    assert error["code"] == "context_length_exceeded" and "4096 tokens" in error["message"]
    error = refused(server, 400, max_tokens=4096)
    assert error["code"] == "context_length_exceeded" and error["param"] == "max_tokens"
    # to the last token it is answered
    prompt = server.ask("a", max_tokens=1).usage.prompt_tokens
    assert server.ask("a", max_tokens=4096 - prompt, n=1).choices[0].finish_reason == "stop"


def test_the_model_is_listed(server):
    (listed,) = server.client().models.list().data
    assert (listed.id, listed.owned_by, listed.max_model_len) == (NAME, "cascade-rl", 4096)
    assert server.client().models.retrieve(NAME).id == NAME
    health = httpx2.get(server.url.removesuffix("/v1") + "/health")
    assert health.status_code == 200 and health.json() == {"status": "ok", "requests": 0}


def test_too_many_requests_are_told_to_come_again(server, monkeypatch):
    monkeypatch.setattr(batches, "MOST_REQUESTS", 0)
    with pytest.raises(openai.RateLimitError):
        server.ask("a")
    with pytest.raises(openai.RateLimitError):
        server.ask("a", stream=True)


class Recorder:
    """In a sampler's place: ends each reply with its first token, and keeps the sizes of batches."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.begin = threading.Event()

    def stream(self, asked, heard) -> None:
        assert self.begin.wait(60)
        self.batches.append([(ask.sampling.n, ask.sampling.max_new_tokens) for ask in asked])
        heard([Part(r, i, Token(0, 0.0)) for r, ask in enumerate(asked) for i in range(ask.sampling.n)])


def test_batches_are_bounded_and_nobody_is_left_out(monkeypatch):
    """Of any sizes: who does not fit waits for the next batch, and one that is too large alone is alone."""
    monkeypatch.setattr(batches, "MOST_PLACES", 100)
    draws = random.Random(1)
    sizes = [(draws.randint(1, 6), draws.choice((3, 10, 40, 200))) for _ in range(60)]
    problem = Problem("a", "chat", (Message("user", "a"),), None)
    recorder = Recorder()
    line = batches.Batches(recorder)

    async def ask(n: int, limit: int) -> int:
        job = line.begin(Ask(problem, Sampling(n, limit), (1,)))
        got = 0
        async for index, _ in job.tokens():
            job.end(index)
            got += 1
        line.leave(job)
        return got

    async def all_of_them() -> list[int]:
        asked = [asyncio.ensure_future(ask(*size)) for size in sizes]
        await asyncio.sleep(0)
        recorder.begin.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(all_of_them()) == [n for n, _ in sizes]
    assert [size for batch in recorder.batches for size in batch] == sizes, "in the order in which they came"
    for batch in recorder.batches:
        assert len(batch) == 1 or sum(n for n, _ in batch) * max(limit for _, limit in batch) <= 100
    assert 1 < len(recorder.batches) < len(sizes)
    line.close()


def test_a_fault_of_the_engine_is_an_error_and_no_reply(server, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(server.world.sampler, "stream", broken)
        with pytest.raises(openai.InternalServerError, match="out of memory"):
            server.ask("a")
        with pytest.raises(openai.APIError, match="out of memory"):
            list(server.ask("a", stream=True))
    assert server.ask("a").choices


def test_workers_give_the_same_replies(server, model):
    """Two processes: tokens come through a pipe, and rows that were given up there end there, too."""
    with running(model, workers=2) as other:
        asked = [f"Name the sea, the sky and {n} more." for n in range(6)]
        with ThreadPoolExecutor(6) as pool:
            both = [list(pool.map(lambda text, s=s: s.ask(text, temperature=1, seed=1, n=2, stop="e"), asked))
                    for s in (server, other)]  # fmt: skip
        for one, two in zip(*both, strict=True):
            assert [c.message.content for c in one.choices] == [c.message.content for c in two.choices]


def test_a_key_is_asked_for(model):
    with running(model, key="secret") as found:
        with pytest.raises(openai.AuthenticationError):
            found.ask("a")
        with pytest.raises(openai.AuthenticationError):
            found.client().models.list()
        good = openai.OpenAI(base_url=found.url, api_key="secret", max_retries=0)
        assert good.models.list().data[0].id == NAME
        assert httpx2.get(found.url.removesuffix("/v1") + "/health").status_code == 200


# ---------------------------------------------------------------- text while it comes


def families():
    found = [tokenizer()]
    for make in (llama2, gpt2, gemma):
        inner = make()
        inner.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
        found.append(Tokenizer(inner))
    return found


FAMILIES = families()


@given(st.sampled_from(range(len(FAMILIES))), st.data())
def test_text_token_by_token_is_the_text_of_all(number, data):
    """Any ids, half characters and bytes that are none included, in four families of tokenizers."""
    tok = FAMILIES[number]
    usual = st.integers(0, tok.size - 1)
    # bytes of characters of two to four, as a model spells them, so that wholes are common
    spelt = st.text(max_size=3).map(tok.encode).filter(lambda ids: None not in ids)
    ids = [
        i
        for part in data.draw(st.lists(st.one_of(usual.map(lambda i: [i]), spelt), max_size=12))
        for i in part
    ]
    ids = [i for i in ids if i not in tok.eos_ids]
    spelling = Spelling(tok, (1,))
    parts = [spelling.add(i) for i in ids]
    parts.append(spelling.rest())
    assert "".join(parts) == tok.decode(ids, (1,))
    assert not any(part.endswith("\ufffd") for part in parts[:-1])


@given(st.text("ab", max_size=24), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_stop_texts_do_not_depend_on_how_text_is_cut(text, stops, data):
    found = Stops(stops)
    got, rest = "", text
    while rest and not found.met:
        size = data.draw(st.integers(1, 4))
        got += found.add(rest[:size])
        # what was passed on can't be taken back: no more than what is before any stop text that may come
        rest = rest[size:]
    got += found.rest()
    # by brute force: the first end, then the earliest start
    ends = [(end, start) for end in range(len(text) + 1) for start in range(end) if text[start:end] in stops]
    assert got == (text[: min(ends)[1]] if ends else text) and found.met == bool(ends)


# ---------------------------------------------------------------- the command


def test_a_busy_port_is_told_before_the_model_is_read(cascade):
    with listen("127.0.0.1", 0) as busy:
        port = busy.getsockname()[1]
        status, _, err = cascade("serve", "nowhere", "--port", str(port))
        assert status == 1 and f"port {port} of 127.0.0.1 is in use" in err and f"--port {port + 1}" in err
    status, _, err = cascade("serve", "nowhere", "--port", "0")
    assert status == 1 and "nowhere is no Hugging Face model directory" in err


def test_mistakes_of_the_address_name_the_mend():
    with pytest.raises(InputError, match=r"127\.0\.0\.1 is this machine alone"):
        listen("203.0.113.7", 0)
    with pytest.raises(InputError, match=r"--host no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0)


def test_a_key_that_is_not_set_is_an_error(cascade, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    status, _, err = cascade("serve", "nowhere", "--api-key-variable", "NO_SUCH_KEY")
    assert status == 1 and "NO_SUCH_KEY is not set" in err


def test_the_curl_line_works_and_ctrl_c_ends_it_with_requests_open(model):
    command = [sys.executable, "-m", "cascade_rl", "serve", str(model), "--port", "0", "--name", "it's"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"})  # fmt: skip
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        base = re.search(r"http://\S+/v1", lines[0]).group(0)
        assert lines[1].startswith(f"curl {base}/chat/completions")
        done = subprocess.run(
            ["bash", "-c", "".join(lines[1:]).replace("curl", "curl -s")], capture_output=True, text=True
        )
        assert json.loads(done.stdout)["model"] == "it's"
        body = {"model": "it's", "messages": [{"role": "user", "content": "a"}], "n": 128, "temperature": 0,
                "stream": True}  # fmt: skip
        address = f"{base}/chat/completions"
        with httpx2.Client(timeout=60) as client, client.stream("POST", address, json=body) as answer:
            got = answer.iter_lines()
            next(got)
            process.send_signal(signal.SIGINT)
            lines = iter(process.stdout.readline, "")
            told = next(line for line in lines if line.startswith("stopp"))
            process.send_signal(signal.SIGINT)
            rest = list(got)
        # the machine may be so fast that all 128 replies are complete by then
        assert any('"error"' in line and "stopping" in line for line in rest) or "data: [DONE]" in rest
        assert told.startswith("stopping: 1 still to answer, 10 s (once more: at once)")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130 and out.endswith("stopped\n") and "Traceback" not in err, err
    finally:
        process.kill()
        process.communicate()
