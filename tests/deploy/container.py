"""Runs an image that `tests.deploy.image` made as a container would run, and says what held.

    python -m tests.deploy.container DIRECTORY/cpu

As root, on Linux. The root file system is read-only but for /tmp and /models; the user is the image's own, without
capabilities and without a way to new privileges.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.deploy.image import ROOT, environment, parse

PORT = 18231

ENTER = """
mount --bind "$0" "$0"
mount --options remount,bind,ro "$0"
mount --types proc proc "$0/proc"
mount --bind /dev "$0/dev"
mount --types tmpfs --options mode=1777 tmpfs "$0/tmp"
mount --types tmpfs --options uid=10001,gid=10001 tmpfs "$0/models"
exec chroot "$0" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""

TOOLS = "for tool in cc gcc g++ ld as make pip pip3 apt-get; do command -v $tool; done; python -c 'import setuptools'"


QUESTIONS = (
    *("id", "grep -E 'Cap|NoNewPrivs' /proc/self/status"),
    *("touch /opt/millrace/x", "touch /x", "touch /models/x /tmp/x", TOOLS),
)


def inside(root: Path, *command: str) -> subprocess.Popen[str]:
    variables = environment(parse((ROOT / "Dockerfile").read_text()), "cpu") | {"MILLRACE_PORT": str(PORT)}
    settings = [f"{key}={value}" for key, value in variables.items()]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", ENTER, str(root), "env", "--ignore-environment", *settings, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(root: Path, *command: str) -> str:
    process = inside(root, *command)
    text = process.communicate()[0].strip()
    return f"{text} (exit {process.returncode})"


def await_ready(process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=5).close()
            return
        except URLError:
            time.sleep(0.1)
    raise SystemExit(process.communicate()[0])


def health_check() -> list[str]:
    """The command of the image's HEALTHCHECK."""
    [rest] = [
        rest
        for instruction, rest in parse((ROOT / "Dockerfile").read_text())["runtime"].instructions
        if instruction == "HEALTHCHECK"
    ]
    command: list[str] = json.loads(rest.split("CMD", 1)[1])
    return command


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    began = time.monotonic()
    server = inside(root, "millrace", "serve")
    await_ready(server)
    print(f"ready after {time.monotonic() - began:.1f} s")
    body = json.dumps({"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}).encode()
    request = Request(f"http://127.0.0.1:{PORT}/v1/completions", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        print("completion:", json.load(answer)["choices"][0]["text"])
    print("health check:", output(root, *health_check()))
    server.terminate()
    log = server.communicate(timeout=60)[0]
    print(f"SIGTERM: exit {server.returncode}; its log:\n{log}")
    print("health check without a server:", output(root, *health_check())[-60:])
    for question in QUESTIONS:
        print(f"$ {question}\n{output(root, 'sh', '-c', question)}")


if __name__ == "__main__":
    main()
