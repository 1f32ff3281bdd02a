"""Whatever `/openapi.json` allows, and what it does not, is answered as it says: schemathesis with all its checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess

NUM_EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "200")
"""Fuzzed requests for each operation. With 1,500 there are more than 10,000 cases in all phases together."""

CONFIGURATION = """
[checks.positive_data_acceptance]
# Which fields go together, and which tokens a model has, a schema does not say.
expected-statuses = ["2xx", 400, 404, 429, 503, 504]
"""

pytestmark = pytest.mark.slow


def test_the_schema_tells_the_truth(attacked: ServerProcess, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    schemathesis = Path(sys.executable).with_name("schemathesis")
    options = ["--checks", "all", "--max-examples", NUM_EXAMPLES, "--seed", "17", "--exclude-path", "/v1/stats/stream"]
    command = [schemathesis, "--config-file", configuration, "run", f"{attacked.url}/openapi.json", *options]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    print(ended.stdout[-6000:])
    assert ended.returncode == 0, ended.stdout + ended.stderr
