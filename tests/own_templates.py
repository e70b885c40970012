"""Chat templates in the style of the published ones, in words of our own, each on a small tokenizer of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Core
from transformers import (
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from cascade_rl import chat

BYTES = {t: i for i, t in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
ALTERNATE = (
    "{%- for m in messages -%}{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Turns of user and assistant must take turns') -}}{%- endif -%}{%- endfor -%}"
)
JSON_CALL = (
    '{%- for call in m.tool_calls -%}{{- \'\\n<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' -}}'
    "{{- call.function.arguments | tojson -}}{{- '}\\n</tool_call>' -}}{%- endfor -%}"
)
TOOL_LIST = (
    "{%- if tools -%}{{- '\\n\\n# Tools\\n\\n<tools>' -}}{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}"
    "{%- endfor -%}{{- '\\n</tools>' -}}{%- endif -%}"
)

CHATML = """\
{%- for m in messages -%}
{%- if loop.first and m.role != 'system' -%}{{- '<|im_start|>system\\nYou are a small assistant.<|im_end|>\\n' -}}{%- endif -%}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
QWEN_2_5 = (
    """\
{{- '<|im_start|>system\\n' -}}
{%- if messages[0].role == 'system' -%}{{- messages[0].content -}}{%- else -%}{{- 'You are helpful.' -}}{%- endif -%}
"""
    + TOOL_LIST
    + """\
{{- '<|im_end|>\\n' -}}
{%- for m in messages -%}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) -%}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}
{%- elif m.role == 'assistant' -%}
{{- '<|im_start|>assistant' -}}{%- if m.content -%}{{- '\\n' + m.content -}}{%- endif -%}
{%- if m.tool_calls -%}"""
    + JSON_CALL
    + """{%- endif -%}{{- '<|im_end|>\\n' -}}
{%- elif m.role == 'tool' -%}
{%- if messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
)
QWEN_3 = (
    """\
{%- if tools or messages[0].role == 'system' -%}
{{- '<|im_start|>system\\n' -}}{%- if messages[0].role == 'system' -%}{{- messages[0].content -}}{%- endif -%}
"""
    + TOOL_LIST
    + """{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- set ns = namespace(last=0) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{- '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' -}}
{%- elif m.role == 'assistant' -%}
{%- set text = m.content -%}{%- set why = '' -%}
{%- if m.reasoning_content is string -%}{%- set why = m.reasoning_content -%}
{%- elif '</think>' in text -%}
{%- set why = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if loop.index0 > ns.last and (loop.last or why) -%}
{{- '<think>\\n' + why.strip('\\n') + '\\n</think>\\n\\n' + text.lstrip('\\n') -}}
{%- else -%}{{- text -}}{%- endif -%}
{%- if m.tool_calls -%}"""
    + JSON_CALL
    + """{%- endif -%}{{- '<|im_end|>\\n' -}}
{%- elif m.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""
)
QWQ = """\
{%- for m in messages -%}
{%- set text = m.content -%}
{%- if m.role == 'assistant' and '</think>' in text -%}{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}{%- endif -%}
{{- '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}
"""
LLAMA_2 = """\
{%- if messages[0]['role'] == 'system' -%}
{%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = '' -%}{%- endif -%}
{%- for m in messages -%}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Turns of user and assistant must take turns') -}}
{%- endif -%}
{%- set text = system + m['content'] if loop.first else m['content'] -%}
{%- if m['role'] == 'user' -%}{{- bos_token + '[INST] ' + text.strip() + ' [/INST]' -}}
{%- else -%}{{- ' ' + text.strip() + ' ' + eos_token -}}{%- endif -%}
{%- endfor -%}
"""
LLAMA_3 = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
{%- set system = messages[0].content | trim -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = '' -%}{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + strftime_now('%d %b %Y') + '\\n\\n' + system + '<|eot_id|>' -}}
{%- for m in messages -%}
{%- if m.tool_calls -%}
{%- if m.tool_calls | length != 1 -%}{{- raise_exception('Only one call at a time') -}}{%- endif -%}
{%- set call = m.tool_calls[0].function -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' -}}
{{- call.arguments | tojson -}}{{- '}<|eot_id|>' -}}
{%- elif m.role == 'tool' -%}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' -}}
{%- else -%}
{%- set text = m.content | trim -%}
{%- if loop.first and tools -%}
{%- set text = 'You may call:\\n' + (tools | tojson(indent=4)) + '\\n\\n' + text -%}
{%- endif -%}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + text + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
MISTRAL = """\
{%- if messages[0].role == 'system' -%}
{%- set system = messages[0].content + '\\n\\n' -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = '' -%}{%- endif -%}
{{- bos_token -}}
{%- set ns = namespace(turn=0) -%}
{%- for m in messages -%}
{%- if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) -%}
{%- if (m.role == 'user') != (ns.turn % 2 == 0) -%}{{- raise_exception('user and assistant must alternate') -}}{%- endif -%}
{%- set ns.turn = ns.turn + 1 -%}
{%- endif -%}
{%- if m.role == 'user' -%}
{%- if tools and loop.first -%}{{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' -}}{%- endif -%}
{{- '[INST]' + (system if loop.last else '') + m.content + '[/INST]' -}}
{%- elif m.tool_calls -%}
{{- '[TOOL_CALLS][' -}}
{%- for call in m.tool_calls -%}
{%- if call.id | length != 9 -%}{{- raise_exception('ids of calls have nine letters') -}}{%- endif -%}
{{- ', ' if not loop.first else '' -}}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + ', "id": "' + call.id + '"}' -}}
{%- endfor -%}{{- ']' + eos_token -}}
{%- elif m.role == 'tool' -%}
{{- '[TOOL_RESULTS]{"content": ' + (m.content | tojson) + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' -}}
{%- else -%}{{- ' ' + m.content + eos_token -}}{%- endif -%}
{%- endfor -%}
"""
GEMMA = (
    """\
{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
"""
    + ALTERNATE
    + """\
{%- for m in messages -%}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}
{{- '<start_of_turn>' + role + '\\n' + (m['content'] | trim) + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
)
PHI_3 = """\
{%- for m in messages -%}{{- '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}
"""
PHI_4 = """\
{%- for m in messages -%}{{- '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<|im_sep|>' -}}{%- endif -%}
"""
SMOLLM_3 = """\
{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set mode = '/think' if enable_thinking else '/no_think' -%}
{%- set own = '' -%}
{%- if messages[0].role == 'system' -%}
{%- if '/no_think' in messages[0].content -%}{%- set mode = '/no_think' -%}
{%- elif '/think' in messages[0].content -%}{%- set mode = '/think' -%}{%- endif -%}
{%- set own = messages[0].content.replace('/no_think', '').replace('/think', '').rstrip() -%}
{%- endif -%}
{{- '<|im_start|>system\\n## Metadata\\n\\nToday: ' + strftime_now('%d %B %Y') + '\\nReasoning: ' + mode -}}
{{- '\\n\\n' + own + '<|im_end|>\\n' -}}
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{- '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' -}}
{%- elif m.role == 'assistant' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if mode == '/no_think' -%}{{- '<think>\\n\\n</think>\\n' -}}{%- endif -%}
{%- generation -%}{{- m.content.lstrip('\\n') + '<|im_end|>\\n' -}}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}{%- if mode == '/no_think' -%}{{- '<think>\\n\\n</think>\\n' -}}{%- endif -%}
{%- endif -%}
"""
R1 = """\
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{- m.content -}}
{%- elif m.role == 'user' -%}{{- '<|User|>' + m.content -}}
{%- elif m.role == 'assistant' -%}
{%- set text = m.content -%}
{%- if '</think>' in text -%}{%- set text = text.split('</think>')[-1] -%}{%- endif -%}
{{- '<|Assistant|>' + text + '<|end_of_sentence|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|Assistant|><think>\\n' -}}{%- endif -%}
"""
V3 = """\
{{- bos_token -}}
{%- if thinking is not defined -%}{%- set thinking = false -%}{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{- m.content -}}
{%- elif m.role == 'user' -%}{{- '<|User|>' + m.content -}}
{%- elif m.role == 'assistant' -%}
{%- set text = m.content -%}
{%- if '</think>' in text -%}{%- set text = text.split('</think>', 1)[1] -%}{%- endif -%}
{{- '<|Assistant|></think>' + text + '<|end_of_sentence|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|Assistant|>' -}}{%- if thinking -%}{{- '<think>' -}}{%- else -%}{{- '</think>' -}}{%- endif -%}
{%- endif -%}
"""
ZEPHYR = """\
{%- for m in messages -%}{{- '<|' + m['role'] + '|>\\n' + m['content'] + eos_token + '\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""
COMMAND_R = """\
{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] -%}{%- set messages = messages[1:] -%}
{{- '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + system + '<|END_OF_TURN_TOKEN|>' -}}
{%- endif -%}
{%- for m in messages -%}
{%- set who = 'USER' if m['role'] == 'user' else 'CHATBOT' -%}
{{- '<|START_OF_TURN_TOKEN|><|' + who + '_TOKEN|>' + m['content'].strip() + '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' -}}{%- endif -%}
"""
GRANITE = """\
{%- set system = 'You are Stone.' -%}
{%- if messages[0].role == 'system' -%}{%- set system = messages[0].content -%}{%- set messages = messages[1:] -%}{%- endif -%}
{%- if thinking -%}{%- set system = system + ' Write your thoughts in <think> tags first.' -%}{%- endif -%}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\\n' -}}
{%- for m in messages -%}
{{- '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_of_role|>assistant<|end_of_role|>' -}}{%- endif -%}
"""

PLAIN = """\
{%- for m in messages -%}{{- m.role + ':\\n' + m.content + eos_token + '\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant:\\n' -}}{%- endif -%}
"""


def of_bytes(*special: str, tags: tuple[str, ...] = (), first: str = "", post: bool = False) -> Any:
    """A byte-level tokenizer; the last special token is the end mark, `first` its BOS."""
    # merges over what a template writes around a text, too, and nothing that keeps words apart
    merges = [("b", "Ċ"), ("Ċ", "Ċ"), ("Ġ", "a"), ("a", "b"), (":", "Ċ"), ("Ċ", "#")]
    vocab = BYTES | {one + other: 256 + n for n, (one, other) in enumerate(merges)}
    core = Core(models.BPE(vocab, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*special, first] if first else list(special))
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    if post:
        core.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, core.token_to_id(first))]
        )
    named = {"bos_token": first} if first else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=special[-1], clean_up_tokenization_spaces=False, **named
    )


def pieces(*special: str) -> dict[str, int]:
    """Special tokens, bytes to fall back to, letters and a few words with the mark of a blank before them."""
    names = [*special, *(f"<0x{n:02X}>" for n in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz", "▁y", "▁t"]
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def of_pieces(*special: str, **more: Any) -> Any:
    """A tokenizer of Llama 2's kind: pieces with a mark for the blank, which stands before every text, too."""
    vocab = pieces("<unk>", "<s>", "</s>")
    made = LlamaTokenizer(vocab=vocab, merges=[("▁", "y"), ("▁", "t")], **more)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def of_gemma() -> Any:
    """Gemma's own class; the marks of its turns are added and not called special, as in its first files."""
    made = GemmaTokenizer(vocab=pieces("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), merges=[("▁", "y")])
    made.add_tokens(
        [AddedToken(t, special=False, normalized=False) for t in ("<start_of_turn>", "<end_of_turn>")]
    )
    return made


def of_qwen() -> Any:
    """Qwen's own class, tags for thoughts and tools added as text."""
    made = Qwen2Tokenizer(vocab={**BYTES, "<|endoftext|>": 256}, merges=[], eos_token="<|im_end|>")
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tags = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
    made.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    return made


THINK = ("<think>", "</think>")
IM = ("<|im_start|>", "<|im_end|>")


def of_gpt_2() -> Any:
    """GPT-2's own class, whose only special token ends a turn."""
    return GPT2Tokenizer(vocab={**BYTES, "<|endoftext|>": 256}, merges=[])


def of_ours() -> Any:
    """Ours, as a checkpoint that was exported has it."""
    from tiny import tokenizer

    return tokenizer().inner


@dataclass(frozen=True)
class Own:
    """A template with its tokenizer, and what a person who reads it would say of it.

    modes    mode to the variables that a client sends for it
    flags    whether the mode is said behind the user's text instead
    begun    what a prompt in thinking mode ends with of the thought
    drops    whether a last turn loses its thought, so that replies are what follows the prompt
    """

    template: str
    tokenizer: Callable[[], Any]
    end: str
    modes: Mapping[str, Mapping[str, bool]] = field(default_factory=lambda: {"instruct": {}})
    flags: bool = False
    begun: str = ""
    drops: bool = False
    system: bool = True
    tools: bool = False
    one_call: bool = False
    lead: str = ""

    def made(self) -> Any:
        """The tokenizer with the template on it."""
        inner = self.tokenizer()
        inner.chat_template = self.template
        return inner


BOTH = {"thinking": {"enable_thinking": True}, "instruct": {"enable_thinking": False}}
NAMED = {"thinking": {"thinking": True}, "instruct": {"thinking": False}}
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURNS = ("<|User|>", "<|Assistant|>", "<|end_of_sentence|>")
COMMANDS = (
    "<|START_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
)
INST = (
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
)
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")

OWN: dict[str, Own] = {
    "cascade": Own(
        chat.TEMPLATE, of_ours, "<|im_end|>", {"thinking": {}, "instruct": {}}, flags=True, tools=True
    ),
    "chatml": Own(CHATML, lambda: of_bytes(*IM), "<|im_end|>"),
    "qwen-2.5": Own(QWEN_2_5, of_qwen, "<|im_end|>", tools=True),
    "qwen-3": Own(QWEN_3, of_qwen, "<|im_end|>", BOTH, tools=True),
    "qwq": Own(QWQ, of_qwen, "<|im_end|>", {"thinking": {}}, begun="<think>\n", drops=True),
    "llama-2": Own(LLAMA_2, of_pieces, "</s>", lead="<s>"),
    "llama-3": Own(
        LLAMA_3,
        lambda: of_bytes(*HEADERS, first="<|begin_of_text|>", post=True),
        "<|eot_id|>",
        tools=True,
        one_call=True,
        lead="<|begin_of_text|>",
    ),
    "mistral": Own(MISTRAL, lambda: of_pieces(*INST), "</s>", tools=True, lead="<s>"),
    "gemma": Own(GEMMA, of_gemma, "<end_of_turn>", system=False, lead="<bos>"),
    "phi-3": Own(
        PHI_3, lambda: of_pieces(*ROLES, "<|end|>", "<|endoftext|>", eos_token="<|endoftext|>"), "<|end|>"
    ),
    "gpt-2": Own(PLAIN, of_gpt_2, "<|endoftext|>"),
    "phi-4": Own(PHI_4, lambda: of_bytes("<|im_start|>", "<|im_sep|>", "<|im_end|>"), "<|im_end|>"),
    "smollm-3": Own(SMOLLM_3, lambda: of_bytes(*IM, tags=THINK), "<|im_end|>", BOTH),
    "deepseek-r1": Own(
        R1,
        lambda: of_bytes(*TURNS, tags=THINK, first="<|begin_of_sentence|>"),
        "<|end_of_sentence|>",
        {"thinking": {}},
        begun="<think>\n",
        drops=True,
        lead="<|begin_of_sentence|>",
    ),
    "deepseek-v3": Own(
        V3,
        lambda: of_bytes(*TURNS, tags=THINK, first="<|begin_of_sentence|>"),
        "<|end_of_sentence|>",
        NAMED,
        begun="<think>",
        drops=True,
        lead="<|begin_of_sentence|>",
    ),
    "zephyr": Own(ZEPHYR, lambda: of_pieces(*ROLES), "</s>"),
    "command-r": Own(
        COMMAND_R,
        lambda: of_bytes(*COMMANDS, first="<BOS_TOKEN>"),
        "<|END_OF_TURN_TOKEN|>",
        lead="<BOS_TOKEN>",
    ),
    "granite": Own(
        GRANITE,
        lambda: of_bytes("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", tags=THINK),
        "<|end_of_text|>",
        NAMED,
    ),
}
