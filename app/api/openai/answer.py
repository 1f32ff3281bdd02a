"""One answer in OpenAI's dialect, streamed or whole."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from app.api.generation.choices import Piece
from app.api.generation.dialect import Answer, Json
from app.api.generation.generation import Generation
from app.api.generation.usage import Usage
from app.api.openai.events import EventWriter
from app.api.openai.logprobs import prompt_logprobs
from app.api.openai.reply import Reply, usage_object
from app.api.openai.schemas.sampling import SamplingFields, StreamOptions
from app.api.wire.event_stream import DONE


class OpenAIAnswer(Answer):
    """Writes what `reply` makes of a generation, and reports usage and prompt logprobs as the body asks for."""

    def __init__(self, generation: Generation, reply: Reply, body: SamplingFields) -> None:
        options = body.stream_options or StreamOptions()
        self.id = reply.id
        self._generation = generation
        self._reply = reply
        self._reports_usage = options.include_usage
        self._num_prompt_logprobs = body.prompt_logprobs
        running = generation.usage if options.continuous_usage_stats else None
        self._writer = EventWriter(reply, options.include_usage, running)

    def write(self, piece: Piece) -> str:
        written = ""
        for part in self._reply.read(piece):
            written += self._writer.write(part)
        return written

    def end(self, usage: Usage) -> str:
        return self._writer.write_usage(usage) + DONE if self._reports_usage else DONE

    def whole(self, choices: Seq[Piece], usage: Usage) -> Json:
        written = list(map(self._reply.choice, choices))
        if self._num_prompt_logprobs is not None:
            for choice, sequence in zip(written, self._generation.choices, strict=True):
                tokens = sequence.stream.prompt_logprobs
                choice["prompt_logprobs"] = prompt_logprobs(tokens, self._num_prompt_logprobs, self._reply.tokenizer)
        return {**self._reply.envelope(self._reply.object), "choices": written, "usage": usage_object(usage)}
