"""Follows the Dockerfile by hand, where there is no container engine: each stage is a directory, each RUN a chroot.

    python -m tests.deploy.image --base ROOTFS --target cpu DIRECTORY

As root, on Linux. ROOTFS stands for the base image: a root file system with Python in /usr/local. The image is
DIRECTORY/cpu; what it has grown to is printed after each instruction. `tests.deploy.container` runs it.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

ENTER = """
mount --types proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --bind /etc/resolv.conf "$0/etc/resolv.conf"
mount --bind "$1" "$0/mnt"
root=$0
shift
exec chroot "$root" "$@"
"""


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)


def parse(dockerfile: str) -> dict[str, Stage]:
    """The stages by name, with their instructions and arguments in order."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        instruction, rest = line.split(None, 1)
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages[name] = stage = Stage(name, base)
        else:
            stage.instructions.append((instruction, rest))
    return stages


def needed(stages: dict[str, Stage], target: str) -> Iterator[str]:
    """The stages that a target is made of, each after those it needs; some more than once."""
    stage = stages[target]
    sources = re.findall(r"--from=(\S+)", " ".join(rest for _, rest in stage.instructions))
    for name in (stage.base, *sources):
        if name in stages:
            yield from needed(stages, name)
    yield target


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """What ENV sets, in this stage and those it begins from."""
    stage = stages[name]
    variables = environment(stages, stage.base) if stage.base in stages else {"PATH": PATH}
    for instruction, rest in stage.instructions:
        if instruction == "ENV":
            given = dict(setting.split("=", 1) for setting in shlex.split(rest))
            variables |= {key: value.replace("$PATH", variables["PATH"]) for key, value in given.items()}
    return variables


class Builder:
    """Makes stages below `directory`; `wheels` are found by pip beside those of the indexes."""

    def __init__(self, stages: dict[str, Stage], base: Path, wheels: Path, directory: Path) -> None:
        self._stages = stages
        self._base = base
        self._wheels = wheels
        self._directory = directory

    def build(self, target: str) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(needed(self._stages, target)):
            self._build_stage(self._stages[name])

    def _build_stage(self, stage: Stage) -> None:
        root = self._directory / stage.name
        base = self._directory / stage.base if stage.base in self._stages else self._base
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(root)], check=True)
        print(f"{stage.name}: from {stage.base}, {megabytes(root)}", flush=True)
        directory = self._working_directory(stage.base)
        for instruction, rest in stage.instructions:
            if instruction == "WORKDIR":
                directory = rest
                (root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif instruction == "COPY":
                self._copy(root, directory, rest)
            elif instruction == "RUN":
                self._run(root, directory, re.sub(r"--mount=\S+\s*", "", rest), environment(self._stages, stage.name))
            else:
                continue
            print(f"  {instruction} {' '.join(rest.split())[:90]}: {megabytes(root)}", flush=True)

    def _working_directory(self, name: str) -> str:
        if name not in self._stages:
            return "/"
        own = [rest for instruction, rest in self._stages[name].instructions if instruction == "WORKDIR"]
        return own[-1] if own else self._working_directory(self._stages[name].base)

    def _copy(self, root: Path, directory: str, rest: str) -> None:
        words = rest.split()
        origin = ROOT
        if words[0].startswith("--from="):
            origin = self._directory / words.pop(0).removeprefix("--from=")
        *sources, target = words
        into = root / directory.lstrip("/") / target.lstrip("/") if target[0] != "/" else root / target.lstrip("/")
        for name in sources:
            source = origin / name.lstrip("/")
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "prebuilt") if origin == ROOT else None
                shutil.copytree(source, into, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                destination = into / source.name if target.endswith("/") else into
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, destination)

    def _run(self, root: Path, directory: str, command: str, variables: dict[str, str]) -> None:
        settings = [f"{key}={value}" for key, value in (variables | {"PIP_FIND_LINKS": "/mnt"}).items()]
        shell = ["/usr/bin/env", "--ignore-environment", f"--chdir={directory}", *settings, "/bin/sh", "-c", command]
        enter = ["unshare", "--mount", "sh", "-ec", ENTER, str(root), str(self._wheels)]
        subprocess.run([*enter, *shell], check=True)


def megabytes(directory: Path) -> str:
    """Its apparent size in powers of ten, as registries and engines give it."""
    size = subprocess.check_output(["du", "--summarize", "--apparent-size", "--bytes", str(directory)], text=True)
    return f"{int(size.split()[0]) / 1e6:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="root file system that stands for the base image")
    parser.add_argument("--wheels", type=Path, default=Path("/mnt"), help="directory of wheels that no index here has")
    parser.add_argument("--target", default="cpu", help="stage to build")
    parser.add_argument("directory", type=Path, help="where the stages are made")
    options = parser.parse_args()
    stages = parse((ROOT / "Dockerfile").read_text())
    builder = Builder(stages, options.base.resolve(), options.wheels.resolve(), options.directory.resolve())
    builder.build(options.target)


if __name__ == "__main__":
    main()
