"""Who may import whom, as app/README.md draws it, held against the imports of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APP = ROOT / "app"
LEAVES = ("app.messages", "app.logs")
MAKERS = ("app.engine.startup", "app.engine.decoders")
HEAVY = ("torch", "transformers", "tokenizers")

API_ROOMS: dict[str, set[str]] = {
    # What everyone in the API may know.
    "excerpts": set(),
    "request_limits": set(),
    "background": set(),
    "record": set(),
    "errors": {"excerpts"},
    "error_handlers": {"errors", "excerpts", "record"},
    # The rooms: each knows these, and no others.
    "wire": {"errors", "excerpts", "request_limits"},
    "gate": {"errors", "excerpts", "error_handlers", "record"},
    "generation": {"errors", "excerpts", "error_handlers", "record", "request_limits", "wire"},
    "telemetry": {"errors", "error_handlers", "record", "generation", "wire"},
    "openapi": set(),
    "service": {"background", "errors", "excerpts", "generation", "request_limits"},
    # The room of a dialect.
    "openai": {"errors", "excerpts", "generation", "openapi", "service", "wire"},
    # Routes that belong to no dialect.
    "operations": {"openapi", "service"},
    "statistics": {"openapi", "service", "wire"},
    "web": set(),
    # Where everything is put together.
    "routes": {"generation", "openai", "operations", "statistics", "web"},
    "app": {"error_handlers", "gate", "generation", "openapi", "routes", "service", "telemetry", "wire"},
    "start_report": {"service", "wire"},
    "run": {"app", "gate", "openai", "request_limits", "service", "start_report", "telemetry", "wire"},
}
"""The rooms of `app.api` and its modules outside of them, each with those that it may import when it runs."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of_source(source: str) -> set[str]:
    """Full names of all that a source imports, anywhere in it; what is only for type checkers is left out."""
    return {name for node in _running_nodes(ast.parse(source)) for name in _names(node)}


def imports_at_the_top(source: str) -> set[str]:
    """Those of them that run as soon as the module is imported."""
    return {name for node in _running_nodes(ast.parse(source), functions=False) for name in _names(node)}


def _running_nodes(node: ast.AST, functions: bool = True) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *_running_nodes(other, functions))
        elif functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _running_nodes(child, functions)


def _names(node: ast.AST) -> list[str]:
    """`from a import b` may mean the module a.b or a name in a: both are told apart by what there is."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written in full"
        assert node.module is not None
        return [f"{node.module}.{a.name}" if _is_module(f"{node.module}.{a.name}") else node.module for a in node.names]
    return []


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def sources() -> dict[str, str]:
    return {module_name(path): path.read_text() for path in sorted(APP.rglob("*.py"))}


@cache
def imports() -> dict[str, frozenset[str]]:
    return {module: frozenset(imports_of_source(source)) for module, source in sources().items()}


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def who_imports(*packages: str) -> set[str]:
    return {module for module, names in imports().items() if any(within(name, *packages) for name in names)}


def outside(modules: set[str], *packages: str) -> set[str]:
    return {module for module in modules if not within(module, *packages)}


def what_is_imported_by(*packages: str) -> set[str]:
    return {name for module, names in imports().items() if within(module, *packages) for name in names}


def from_elsewhere(names: set[str]) -> set[str]:
    """Those that are neither in the standard library nor ours."""
    return {name for name in names if name.split(".")[0] not in {*sys.stdlib_module_names, "app"}}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if within(name, "app")}


# The reading itself


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import os.path as p
from app.scheduler import batch
from app.messages import Abort
def late():
    from torch import nn
if TYPE_CHECKING:
    import numpy
else:
    import scipy
"""
    found = {"os.path", "app.scheduler.batch", "app.messages", "scipy"}
    assert imports_of_source(source) == {*found, "torch"}
    assert imports_at_the_top(source) == found


def test_the_whole_application_is_read() -> None:
    assert {"app.cli", "app.scheduler.scheduler", "app.model.runner", "app.engine.core", "app.api.app"} <= set(
        sources()
    )


# Circles


def dependencies() -> dict[str, set[str]]:
    """The modules that each module of the application imports when it runs."""
    return {module: {_module_of(name) for name in ours(set(names))} - {module} for module, names in imports().items()}


def _module_of(name: str) -> str:
    """The module in which an imported name is defined."""
    while name not in sources():
        name = name.rpartition(".")[0]
    return name


def modules_in_circles(graph: dict[str, set[str]]) -> set[str]:
    """What is left when modules that import nothing left are removed, again and again."""
    left = dict(graph)
    while free := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in free}
    return set(left)


def test_a_circle_of_imports_is_found_with_all_that_leads_to_it() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert modules_in_circles(graph) == {"a", "b", "c"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert modules_in_circles(dependencies()) == set()


# The table


@pytest.mark.parametrize("leaf", LEAVES)
def test_what_everyone_may_import_imports_nothing(leaf: str) -> None:
    names = set(imports()[leaf])
    assert from_elsewhere(names) == ours(names) == set()


def test_the_scheduler_knows_the_standard_library_and_messages_only() -> None:
    names = what_is_imported_by("app.scheduler")
    assert from_elsewhere(names) == set()
    assert outside(ours(names), "app.scheduler", "app.messages") == set()


def test_the_look_at_a_checkpoint_needs_the_standard_library_only() -> None:
    names = what_is_imported_by("app.checkpoint")
    assert from_elsewhere(names) == set()
    assert outside(ours(names), "app.checkpoint") == set()


def test_the_block_pool_knows_nobody() -> None:
    assert ours(set(imports()["app.scheduler.block_pool"])) == set()


def test_torch_is_known_to_the_model_and_its_makers_only() -> None:
    known = outside(who_imports("torch"), "app.model", *MAKERS, "app.demo")
    assert known == {"app.bench.ceilings"}, "beside these, what measures the machine with torch"


def test_transformers_is_known_to_the_model_the_tokenizer_and_their_makers_only() -> None:
    users = who_imports("transformers")
    text = (
        "app.text.tokenizer",
        "app.text.chat_template",
        "app.text.model_files",
        "app.text.replies.response_template",
    )
    assert outside(users, "app.model", *MAKERS, "app.demo", *text) == set()


def test_the_model_knows_of_the_scheduler_only_the_types() -> None:
    known = ours(what_is_imported_by("app.model"))
    neutral = ("app.messages", "app.checkpoint", "app.scheduler.batch", "app.scheduler.sequence")
    assert outside(known, "app.model", *neutral) == set()


def test_the_engine_knows_neither_http_nor_text_nor_prometheus() -> None:
    names = what_is_imported_by("app.engine")
    others = ("app.scheduler", "app.model", "app.checkpoint", "app.constraints", *LEAVES, "app.config")
    assert outside(ours(names), "app.engine", *others) == set()
    assert from_elsewhere(names) <= {"torch", "transformers", "numpy"}


def test_only_the_start_of_the_engine_and_what_measures_it_know_the_model() -> None:
    measuring = ("app.bench.ceilings", "app.bench.engine")
    assert outside(who_imports("app.model"), "app.model", *MAKERS, "app.demo", *measuring) == set()


def test_the_benchmark_over_http_knows_nothing_of_the_engine() -> None:
    inside = ("app.engine", "app.model", "app.scheduler")
    alone = ("app.bench.ceilings", "app.bench.engine", "app.bench.cli")
    knowing = {module for module in who_imports(*inside) if within(module, "app.bench")}
    assert outside(knowing, *alone) == set()


def test_the_api_reaches_the_engine_through_its_client() -> None:
    known = ours(what_is_imported_by("app.api"))
    doors = {"app.engine.client", "app.engine.observers", "app.engine.health", "app.engine.stream"}
    assert {name for name in known if within(name, "app.engine")} <= doors
    assert {name for name in known if within(name, "app.scheduler", "app.model")} == set()


def room_of(module: str) -> str:
    return module.split(".")[2]


def test_the_rooms_of_the_api_know_each_other_in_the_directions_of_the_table_only() -> None:
    known: dict[str, set[str]] = {}
    for module, names in dependencies().items():
        if module.startswith("app.api."):
            rooms = {room_of(name) for name in names if name.startswith("app.api.")}
            known.setdefault(room_of(module), set()).update(rooms - {room_of(module)})
    assert {room: rooms - API_ROOMS[room] for room, rooms in known.items() if rooms - API_ROOMS[room]} == {}
    assert known.keys() == API_ROOMS.keys()


def test_a_dialect_is_known_to_the_table_of_routes_and_where_the_server_is_put_together_only() -> None:
    assert outside(who_imports("app.api.openai"), "app.api.openai") == {"app.api.routes", "app.api.run"}


def test_text_knows_only_itself() -> None:
    assert outside(ours(what_is_imported_by("app.text")), "app.text", "app.messages", "app.checkpoint") == set()


def test_constraints_know_messages_the_bytes_of_tokens_and_the_formats_of_replies_and_alone_their_library() -> None:
    names = what_is_imported_by("app.constraints")
    formats = {f"app.text.replies.{name}" for name in ("format", "markup", "values")}
    assert outside(ours(names), "app.constraints", "app.messages", "app.text.pieces", *formats) == set()
    engine = outside(who_imports(*formats), "app.constraints", "app.text", "app.api")
    assert engine == set()
    assert {name.split(".")[0] for name in from_elsewhere(names)} == {"llguidance", "numpy"}
    assert outside(who_imports("llguidance"), "app.constraints") == set()


def test_http_is_known_to_the_api_only() -> None:
    servers = ("fastapi", "starlette", "uvicorn", "sse_starlette")
    assert outside(who_imports(*servers), "app.api") == set()


def test_the_configuration_is_known_where_things_are_put_together_only() -> None:
    engine = {"app.engine.client", "app.engine.child", "app.engine.process", "app.engine.startup"}
    allowed = {"app.cli", "app.options", "app.serve", "app.api.run", "app.demo.evaluate"} | engine
    assert who_imports("app.config") - allowed == set()


def test_opentelemetry_is_known_to_one_module_which_loads_it_when_it_is_asked_for() -> None:
    assert who_imports("opentelemetry") == {"app.api.telemetry.tracing"}
    assert not any(within(name, "opentelemetry") for name in imports_at_the_top(sources()["app.api.telemetry.tracing"]))


def test_prometheus_is_known_to_the_metrics_only() -> None:
    assert outside(who_imports("prometheus_client"), "app.metrics") == set()


def test_the_chat_in_the_terminal_knows_the_standard_library_only() -> None:
    names = what_is_imported_by("app.chat")
    assert from_elsewhere(names) == set()
    assert outside(ours(names), "app.chat") == set()


def test_nobody_knows_the_command_line() -> None:
    assert who_imports("app.cli") - {"app.__main__"} == set()


def test_what_is_served_does_not_need_the_benchmarks_or_what_made_the_demo() -> None:
    assert outside(who_imports("app.demo", "app.bench"), "app.demo", "app.bench", "app.cli") == set()


# What an import costs


@pytest.mark.parametrize("module", ["app.cli", "app.api.app", "app.engine.client", "app.engine.process"])
def test_the_api_process_starts_without_what_is_heavy(module: str) -> None:
    """Read rather than run: what these modules import at the top, and so on down, names nothing heavy."""
    seen: set[str] = set()
    pending = [module]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        names = imports_at_the_top(sources().get(current, ""))
        heavy = {name for name in names if within(name, *HEAVY)}
        assert heavy == set(), f"{current} is imported by way of {module}"
        pending.extend(ours(names))
    assert len(seen) > 1


def test_a_start_is_checked_before_the_server_is_imported() -> None:
    """A port that is taken, or a directory that is no model, is known without FastAPI, which takes a second."""
    heavy = {"fastapi", "uvicorn", "huggingface_hub"}
    script = f"import sys, app.cli, app.startup_checks; print(*sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == []


def test_importing_the_application_imports_neither_torch_nor_transformers() -> None:
    """The same in a fresh interpreter, which also shows what third-party packages import."""
    script = (
        "import sys, app.cli, app.api.app, app.api.run; print(*sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == []
