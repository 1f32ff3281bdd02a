"""What a span says of a request, under the names of OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

import json
from typing import Any

from app.api.generation.generation import Generation
from app.api.generation.reply import Reply
from app.api.openai.schemas.sampling import SamplingFields
from app.api.record import RequestRecord, Timings, texts_of

Attributes = dict[str, Any]

PROVIDER = "millrace"


def metric_attributes(operation: str, model_name: str, record: RequestRecord) -> dict[str, str]:
    """Those of few values, which metrics can bear."""
    told = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model_name,
        "gen_ai.response.model": model_name,
    }
    return told | ({"error.type": record.error.cause} if record.error is not None else {})


def request_attributes(operation: str, model_name: str, record: RequestRecord, timings: Timings) -> Attributes:
    """All but the texts."""
    told: Attributes = metric_attributes(operation, model_name, record) | {
        "http.request.method": "POST",
        "http.route": record.route.removeprefix("POST "),
        "http.response.status_code": record.status,
        "millrace.request.id": record.request_id,
        "millrace.outcome": record.outcome,
    }
    if record.generation is not None and record.reply is not None and record.body is not None:
        told |= _generation_attributes(record.generation, record.reply, timings) | _body_attributes(record.body)
    return {name: value for name, value in told.items() if value is not None}


def _generation_attributes(generation: Generation, reply: Reply, timings: Timings) -> Attributes:
    usage = generation.usage()
    return {
        "gen_ai.response.id": reply.id,
        "gen_ai.response.finish_reasons": [str(stream.finish_reason) for stream in generation.streams],
        "gen_ai.response.time_to_first_chunk": timings.first_token,
        "gen_ai.usage.input_tokens": usage.num_prompt_tokens,
        "gen_ai.usage.output_tokens": usage.num_output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.num_cached_tokens,
        "millrace.time_in_queue": timings.queued,
        "millrace.preemptions": sum(len(stream.times.preempted) for stream in generation.streams),
    }


def _body_attributes(body: SamplingFields) -> Attributes:
    return {
        "gen_ai.request.choice.count": body.n if body.n > 1 else None,
        "gen_ai.request.stream": body.stream,
        "gen_ai.request.max_tokens": body.wanted_tokens[1],
        "gen_ai.request.temperature": body.temperature,
        "gen_ai.request.top_p": body.top_p,
        "gen_ai.request.top_k": body.top_k or None,
        "gen_ai.request.frequency_penalty": body.frequency_penalty or None,
        "gen_ai.request.presence_penalty": body.presence_penalty or None,
        "gen_ai.request.seed": body.seed,
        "gen_ai.request.stop_sequences": body.stop or None,
    }


def content_attributes(record: RequestRecord) -> Attributes:
    """The texts, in and out, as they are to the model: only where somebody asked for them."""
    if record.generation is None or record.reply is None:
        return {}
    inputs, outputs = [], []
    for choice, (prompt, answer) in zip(record.generation.choices, texts_of(record), strict=True):
        inputs.append({"role": "user", "parts": [{"type": "text", "content": prompt}]})
        part = {"type": "text", "content": answer}
        outputs.append({"role": "assistant", "parts": [part], "finish_reason": str(choice.stream.finish_reason)})
    return {
        "gen_ai.input.messages": json.dumps(inputs, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps(outputs, ensure_ascii=False),
    }
