"""Bodies that no client should send, the same for the same seed: wrong values, extremes, combinations, sizes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Case = tuple[str, str, bytes]
"""A path, the content type of a body and its bytes."""

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 5e-324, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**64, 10**400),
    *("", " ", "a", "null", "\x00", "\ud7ff", "\U0010ffff", "日本", "🌾", "a\u0301", "<|im_end|>", "</tool_call>"),
    *("x" * 300, "auto", "none", "text", "user", "function", "1", "-100"),
)
TEXTS = (
    "",
    "the mill",
    "grain, water, stone",
    "日本語 🌾",
    "\x00\x01",
    "a" * 3000,
    "<|endoftext|>",
    "\n" * 50,
    "{[,]}",
)
KNOWN_FIELDS = (
    *("model", "n", "stream", "stream_options", "max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos"),
    *("include_stop_str_in_output", "skip_special_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "prompt_logprobs", "priority"),
    *("cache_salt", "metadata", "safety_identifier", "prompt_cache_key", "best_of", "echo", "logprobs", "suffix"),
    *("add_special_tokens", "messages", "prompt", "tools", "tool_choice", "max_completion_tokens", "top_logprobs"),
    *("add_generation_prompt", "continue_final_message", "chat_template_kwargs", "response_format", "functions"),
    *("function_call", "parallel_tool_calls", "modalities", "reasoning_effort", "store", "service_tier", "audio"),
)
DEEP = "@deep@"
"""Stands for lists in objects in lists, and so on, which Python's encoder does not write."""

WIDE = 60_000
"""Values in a list that is too long."""


class Generator:
    """Draws cases. Most are nearly right, for those get furthest."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._alterations: tuple[Callable[[Body], None], ...] = (
            self._set_any_field,
            self._set_any_field,
            self._set_unknown_field,
            self._set_sampling,
            self._set_sampling,
            self._set_ends,
            self._set_reports,
            self._set_prompt,
            self._set_messages,
            self._set_widely,
            self._set_deeply,
        )

    def request(self) -> Case:
        dice = self._dice
        is_chat = dice.random() < 0.4
        body: Body = {"max_tokens": dice.choice((0, 1, 2, 8))}
        body |= {"messages": [{"role": "user", "content": "hi"}]} if is_chat else {"prompt": dice.choice(TEXTS)}
        for _ in range(dice.choice((1, 1, 2, 3, 6))):
            dice.choice(self._alterations)(body)
        path = "/v1/chat/completions" if is_chat else "/v1/completions"
        content_type = "application/json" if dice.random() < 0.97 else dice.choice(("text/plain", "", "a/b; c=é"))
        return path, content_type, self._written(body)

    def _written(self, body: Body) -> bytes:
        """As JSON, now and then broken."""
        dice = self._dice
        text = json.dumps(body, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
        depth = dice.choice((10, 150, 2000))
        text = text.replace(json.dumps(DEEP).encode(), b'[{"a":' * depth + b"1" + b"}]" * depth)
        if dice.random() < 0.95:
            return text
        at = dice.randrange(len(text))
        damage = dice.choice((b"", b"\x00", b"\xff", b"}", b'"', b"NaN", b'\\ud800"', b"[" * 3000, b"1" * 5000))
        return text[:at] + damage + text[at + 1 :] if dice.random() < 0.7 else text[:at]

    def _any(self, depth: int = 3) -> Any:
        dice = self._dice
        kind = dice.random()
        if depth == 0 or kind < 0.6:
            return dice.choice(SCALARS)
        if kind < 0.8:
            return [self._any(depth - 1) for _ in range(dice.randrange(4))]
        return {dice.choice(("type", "text", "name", "a", "", "1")): self._any(depth - 1) for _ in range(3)}

    def _set_any_field(self, body: Body) -> None:
        body[self._dice.choice(KNOWN_FIELDS)] = self._any()

    def _set_unknown_field(self, body: Body) -> None:
        body[self._dice.choice(("max_token", "x" * 5000, "", "é", "__class__", "prompt ", "\x00"))] = self._any()

    def _set_sampling(self, body: Body) -> None:
        dice = self._dice
        body |= {
            "temperature": dice.choice((0, 1e-5, 0.7, 2)),
            "top_p": dice.choice((0, 1e-9, 0.5, 1)),
            "top_k": dice.choice((-1, 0, 1, 5, 2**31 - 1)),
            "min_p": dice.choice((0, 0.1, 1)),
            "presence_penalty": dice.choice((-2, 0, 2)),
            "frequency_penalty": dice.choice((-2, 0, 2)),
            "repetition_penalty": dice.choice((0.1, 1, 10)),
            "seed": dice.choice((-(2**63), 0, 1, 2**63 - 1)),
            "n": dice.choice((1, 1, 2, 5, 128, 129)),
        }

    def _set_ends(self, body: Body) -> None:
        dice = self._dice
        body |= dice.choice(
            (
                {"stop": [dice.choice(TEXTS) for _ in range(dice.randrange(20))]},
                {"stop_token_ids": list(range(dice.choice((1, 127, 128, 129, 4096, 40_000)))), "min_tokens": 1},
                {"min_tokens": dice.choice((1, 8, 10**30)), "ignore_eos": True},
                {"logit_bias": {str(token): -100 for token in range(dice.choice((1, 128, 4096)))}, "n": 64},
                {"max_tokens": dice.choice((100, 8192, 10**6, 10**30)), "stop": "e"},
            )
        )

    def _set_reports(self, body: Body) -> None:
        dice = self._dice
        body |= dice.choice(
            (
                {"echo": True, "logprobs": dice.choice((0, 1, 20, 21))},
                {"prompt_logprobs": dice.choice((0, 20, 10**9)), "stream": dice.random() < 0.2},
                {"logprobs": True, "top_logprobs": dice.choice((0, 20, 21))},
                {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
                {"stream": True, "echo": True, "logprobs": 20},
            )
        )

    def _set_prompt(self, body: Body) -> None:
        dice = self._dice
        ids = [dice.choice((0, 1, 5, 100, 127, 128, 4095, 4096, -1, 2**31, 2**70)) for _ in range(dice.randrange(6))]
        prompts: tuple[Any, ...] = (
            ids,
            [ids, ids],
            [[dice.randrange(100) for _ in range(900)]] * dice.choice((1, 2, 128, 200)),
            ["a"] * dice.choice((1, 128, 129, WIDE)),
            ["a", [1]],
            [[]],
            "word " * dice.choice((10, 5_000, 200_000)),
            [1] * dice.choice((500, 9_000, 500_000)),
        )
        body["prompt"] = dice.choice(prompts)

    def _set_messages(self, body: Body) -> None:
        dice = self._dice
        arguments = dice.choice(
            ("{}", "", "[1]", '{"a": "\\ud83d"}', "[" * 2000, json.dumps({"a": [{}] * WIDE}), "{" * 9)
        )
        call = {
            "type": "function",
            "id": "1",
            "function": {"name": dice.choice(("f", "g h", "")), "arguments": arguments},
        }
        message = {
            "role": dice.choice(("system", "user", "assistant", "tool", "developer", "function", "robot")),
            "content": dice.choice((None, "", "hi", [], [{"type": "text", "text": "hi"}], [{"type": "image_url"}], 5)),
        }
        extra = dice.choice(({}, {"tool_calls": [call]}, {"tool_call_id": "1"}, {"name": "x"}, {"refusal": "no"}))
        body["messages"] = [message | extra] * dice.choice((1, 2, 50, 9_000) if len(arguments) < 10 else (1, 2))
        if dice.random() < 0.3:
            body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": self._any()}}]
            body["tool_choice"] = self._any(1)

    def _set_widely(self, body: Body) -> None:
        dice = self._dice
        wide: Any = dice.choice(([1] * WIDE, [{}] * WIDE, dict.fromkeys(map(str, range(WIDE)), 1), "x" * 3_000_000))
        body[
            dice.choice(("stop", "metadata", "tools", "messages", "stop_token_ids", "model", "user", "cache_salt"))
        ] = wide

    def _set_deeply(self, body: Body) -> None:
        body[self._dice.choice(("metadata", "tools", "prompt", "chat_template_kwargs", "messages"))] = DEEP
