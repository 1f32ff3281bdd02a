"""A real Prometheus scrapes a live server under load, and what it says is what the load generator counted itself."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import socket
import subprocess
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import pytest

from app.bench.client import Client
from app.bench.outcome import Outcome
from app.bench.workload import PlannedRequest
from app.metrics.instruments import FIRST_TOKEN_SECONDS, REQUEST_SECONDS, TOKEN_SECONDS
from tests.documents import SETTINGS_PAGE, section, table_rows
from tests.e2e.server import ONE_THREAD, ServerProcess, serving, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]

LOAD_SECONDS = 60
NUM_STREAMS = 8
COMPLETIONS = "/v1/completions"
TRACE_ID = "ab" * 16


class Prometheus:
    """A process of its own that scrapes one server twice a second."""

    def __init__(self, directory: Path, target: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        jobs = [{"job_name": "millrace", "static_configs": [{"targets": [target]}]}]
        config = {"global": {"scrape_interval": "500ms"}, "scrape_configs": jobs}
        (directory / "prometheus.yml").write_text(json.dumps(config))
        self._output = (directory / "output").open("wb")
        options = {
            "config.file": directory / "prometheus.yml",
            "storage.tsdb.path": directory / "data",
            "web.listen-address": self.url.removeprefix("http://"),
            "enable-feature": "exemplar-storage",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(["prometheus", *arguments], stdout=self._output, stderr=subprocess.STDOUT)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._output.close()

    def is_up(self) -> bool:
        try:
            return self.value("up") == 1
        except httpx.HTTPError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters)
        answer.raise_for_status()
        return answer.json()["data"]

    def value(self, query: str) -> float | None:
        """Of an expression with at most one result."""
        results = self.get("query", query=query)["result"]
        return float(results[0]["value"][1]) if results else None

    def names(self) -> set[str]:
        return set(self.get("label/__name__/values"))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving("demo", *ONE_THREAD, "--max-num-seqs", str(NUM_STREAMS // 2), "--kv-cache-memory", "32MiB") as process:
        yield process


@pytest.fixture(scope="module")
def prometheus(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    scraping = Prometheus(tmp_path_factory.mktemp("prometheus"), server.url.removeprefix("http://"))
    with closing(scraping):
        until(scraping.is_up, "Prometheus has scraped the server")
        yield scraping


@pytest.fixture(scope="module")
def outcomes(server: ServerProcess, prometheus: Prometheus) -> list[Outcome]:
    """What the load generator saw of a minute's load. Prometheus has scraped the end of it too."""
    found = asyncio.run(load(server.url))
    until(server.is_idle, "the server is idle")
    ended = time.time()
    until(lambda: (prometheus.value("timestamp(up)") or 0) > ended, "the last state is scraped")
    return found


async def load(url: str) -> list[Outcome]:
    """So many streams at a time for a minute, of lengths drawn from a seed."""
    outcomes: list[Outcome] = []
    draw = random.Random(0)
    ends = time.monotonic() + LOAD_SECONDS

    async def one_after_another(client: Client) -> None:
        while time.monotonic() < ends:
            num_prompt, num_output = draw.randint(1, 200), draw.randint(1, 60)
            body = {
                "prompt": [draw.randrange(100, 1000) for _ in range(num_prompt)],
                "max_tokens": num_output,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            outcome = Outcome(PlannedRequest("", num_prompt, num_output))
            await client.stream(client.message(COMPLETIONS, json.dumps(body).encode()), outcome)
            assert outcome.ok, outcome.error
            outcomes.append(outcome)

    with closing(Client(url, {"traceparent": f"00-{TRACE_ID}-{'cd' * 8}-01"})) as client:
        await asyncio.gather(*(one_after_another(client) for _ in range(NUM_STREAMS)))
    return outcomes


@pytest.mark.usefixtures("outcomes")
def test_every_documented_metric_is_there(prometheus: Prometheus) -> None:
    names = prometheus.names()
    rows = table_rows(section(SETTINGS_PAGE, "Metrics"))
    for name, kind in ((re.match(r"`(\w+)`", row[0])[1], row[1]) for row in rows):  # type: ignore[index]
        stored = f"millrace_{name}_bucket" if kind == "histogram" else f"millrace_{name}"
        # Without speculation there are no places of guessed tokens, and without limits no key goes beyond them.
        assert stored in names or name in ("spec_decode_num_accepted_tokens_per_pos_total", "rate_limited_total"), name


def test_requests_and_tokens_are_counted_exactly_as_the_load_generator_did(
    prometheus: Prometheus, outcomes: list[Outcome]
) -> None:
    num_requests = len(outcomes)
    num_prompt_tokens = sum(outcome.planned.num_prompt_tokens for outcome in outcomes)
    num_output_tokens = sum(outcome.num_output_tokens for outcome in outcomes)
    num_cached_tokens = sum(outcome.num_cached_tokens or 0 for outcome in outcomes)
    expected = {
        'millrace_request_success_total{finished_reason="length"}': num_requests,
        "sum(millrace_request_success_total)": num_requests,
        f'millrace_http_requests_total{{route="{COMPLETIONS}",status="200"}}': num_requests,
        "millrace_time_to_first_token_seconds_count": num_requests,
        "millrace_e2e_request_latency_seconds_count": num_requests,
        "millrace_prompt_tokens_total": num_prompt_tokens,
        'millrace_prompt_tokens_by_source_total{source="local_cache_hit"}': num_cached_tokens,
        'millrace_prompt_tokens_by_source_total{source="local_compute"}': num_prompt_tokens - num_cached_tokens,
        "millrace_prefix_cache_short_prompts_total": sum(o.planned.num_prompt_tokens < 16 for o in outcomes),
        "millrace_generation_tokens_total": num_output_tokens,
        "millrace_request_generation_tokens_sum": num_output_tokens,
        "millrace_inter_token_latency_seconds_count": num_output_tokens - num_requests,
        "sum(millrace_admission_rejections_total)": 0,
        "millrace_num_requests_running": 0,
        "millrace_kv_cache_usage_perc": 0,
        "millrace_engine_ready": 1,
    }
    print(expected)
    assert {query: prometheus.value(query) for query in expected} == expected
    assert num_requests > NUM_STREAMS


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_quantiles_are_those_of_the_load_generator_within_a_bucket(
    prometheus: Prometheus, outcomes: list[Outcome], share: float
) -> None:
    seen = {
        ("time_to_first_token_seconds", FIRST_TOKEN_SECONDS): [outcome.ttft for outcome in outcomes],
        ("inter_token_latency_seconds", TOKEN_SECONDS): [gap for outcome in outcomes for gap in outcome.gaps],
        ("e2e_request_latency_seconds", REQUEST_SECONDS): [
            outcome.finished_at - outcome.sent_at for outcome in outcomes if outcome.finished_at is not None
        ],
    }
    for (name, bounds), values in seen.items():
        by_load = quantiles([value for value in values if value is not None], n=100)[round(share * 100) - 1]
        told = prometheus.value(f"histogram_quantile({share}, sum by (le) (millrace_{name}_bucket))")
        assert told is not None
        print(f"{name} p{share * 100:.0f}: {told:.4f} by Prometheus, {by_load:.4f} by the load generator")
        assert abs(bisect_left(bounds, told) - bisect_left(bounds, by_load)) <= 1, (name, told, by_load)


@pytest.mark.usefixtures("outcomes")
def test_exemplars_are_kept_with_the_trace_of_the_client(prometheus: Prometheus) -> None:
    series = prometheus.get(
        "query_exemplars",
        query="millrace_time_to_first_token_seconds_bucket",
        start=str(time.time() - 2 * LOAD_SECONDS),
        end=str(time.time()),
    )
    assert {exemplar["labels"]["trace_id"] for one in series for exemplar in one["exemplars"]} == {TRACE_ID}
