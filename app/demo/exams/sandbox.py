"""Runs code that the model wrote in a separate process, without files or imports and with little memory and time."""

import json
import subprocess
import sys
from collections.abc import Sequence

CPU_SECONDS = 5
_PROGRAM = """
import builtins, json, resource, sys
task = json.load(sys.stdin)
seconds = task["seconds"]
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
names = ("abs all any bool dict divmod enumerate filter float int isinstance len list map max min pow range reversed "
         "round set sorted str sum tuple zip ValueError TypeError IndexError").split()
scope = {"__builtins__": {name: getattr(builtins, name) for name in names}}
exec(task["source"], scope)
print(json.dumps([scope[task["name"]](*arguments) for arguments in task["calls"]]))
"""


def results(source: str, name: str, calls: Sequence[Sequence[object]]) -> list[object] | None:
    """The results of the function of this name for each call, passed on as JSON; None if anything goes wrong."""
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps({"source": source, "name": name, "calls": list(calls), "seconds": CPU_SECONDS}),
            capture_output=True,
            text=True,
            timeout=4 * CPU_SECONDS,
            env={},
        )
        found: list[object] = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return found if ran.returncode == 0 else None
