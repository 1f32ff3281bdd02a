"""What spans and metrics say about a request, under the names of OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

import json
from typing import Any

from app.api.generation.dialect import Answer
from app.api.generation.generation import Generation
from app.api.generation.request import GenerationRequest
from app.api.record import RequestRecord
from app.api.telemetry.timings import Timings, texts_of

Attributes = dict[str, Any]

PROVIDER = "millrace"


def metric_attributes(model_name: str, record: RequestRecord) -> dict[str, str]:
    """Those with few different values, which metrics can afford."""
    attributes = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model_name,
        "gen_ai.response.model": model_name,
    }
    return attributes | ({"error.type": record.error.cause} if record.error is not None else {})


def request_attributes(model_name: str, record: RequestRecord, timings: Timings) -> Attributes:
    """All attributes except the texts."""
    attributes: Attributes = metric_attributes(model_name, record) | {
        "http.request.method": "POST",
        "http.route": record.route.removeprefix("POST "),
        "http.response.status_code": record.status,
        "millrace.request.id": record.request_id,
        "millrace.outcome": record.outcome,
    }
    if record.generation is not None and record.answer is not None and record.request is not None:
        attributes |= _generation_attributes(record.generation, record.answer, timings)
        attributes |= _sampling_attributes(record.request)
    return {name: value for name, value in attributes.items() if value is not None}


def _generation_attributes(generation: Generation, answer: Answer, timings: Timings) -> Attributes:
    usage = generation.usage()
    return {
        "gen_ai.response.id": answer.id,
        "gen_ai.response.finish_reasons": [str(stream.finish_reason) for stream in generation.streams],
        "gen_ai.response.time_to_first_chunk": timings.first_token,
        "gen_ai.usage.input_tokens": usage.num_prompt_tokens,
        "gen_ai.usage.output_tokens": usage.num_output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.num_cached_tokens,
        "millrace.time_in_queue": timings.queued,
        "millrace.preemptions": sum(len(stream.times.preempted) for stream in generation.streams),
    }


def _sampling_attributes(request: GenerationRequest) -> Attributes:
    sampling = request.sampling
    return {
        "gen_ai.request.choice.count": request.num_choices if request.num_choices > 1 else None,
        "gen_ai.request.stream": request.stream,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k or None,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty or None,
        "gen_ai.request.presence_penalty": sampling.presence_penalty or None,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.stop_sequences": list(request.stop) or None,
    }


def content_attributes(record: RequestRecord) -> Attributes:
    """The texts, in and out, as the model sees them: only where the operator asked for them."""
    if record.generation is None:
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
