"""The command line: `millrace serve` and `millrace bench`."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from app.bench.cli import add_bench_parser, bench, bench_engine, misplaced
from app.config import ENGINE_SETTINGS, ENV_PREFIX, Config, ConfigError, load_config, load_defaults
from app.logs import configure_logging
from app.settings import GROUPS

DESCRIPTION = """\
Serve a language model over the OpenAI API, streaming.

  millrace serve                         the small model that comes with the package
  millrace serve ./my-model              a directory in the layout of transformers (safetensors)
  millrace serve Qwen/Qwen3-0.6B         a model from the hub
  millrace serve ./my-model --port 8001 --max-model-len 4096 --kv-cache-memory 2GiB
"""

EPILOG = f"""\
Every option can also be given in the environment, in capitals after {ENV_PREFIX}: {ENV_PREFIX}MAX_MODEL_LEN=4096.
The command line wins over the environment, the environment over config/default.toml.
"""

ENGINE_OPTIONS = ("revision", *ENGINE_SETTINGS)
"""What `bench --engine` takes of the server's settings, beside the model."""


def main(arguments: list[str] | None = None) -> None:
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    if options.pop("command") == "bench":
        raise SystemExit(run_bench(options, vars(parser.parse_args(["bench"]))))
    serve(read_config(options))


def run_bench(options: dict[str, Any], defaults: dict[str, Any]) -> int:
    """Measure the engine alone, or a server over HTTP. Returns the exit code."""
    if reason := misplaced(options, defaults, ENGINE_OPTIONS):
        fail(reason, code=2)
    if not options["engine"]:
        return bench(options)
    return bench_engine(options, read_config({name: options[name] for name in ("model", *ENGINE_OPTIONS)}))


def read_config(options: dict[str, Any]) -> Config:
    """The configuration with what was given on the command line. Ends the program where it cannot be."""
    try:
        return load_config({name: value for name, value in options.items() if value is not None})
    except ConfigError as error:
        fail(str(error), code=2)


def build_parser() -> argparse.ArgumentParser:
    """One option per field of `Config`; parsing and checking values is left to it."""
    parser = argparse.ArgumentParser(prog="millrace", description="Streams text from language models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|bench")
    serve_parser = commands.add_parser(
        "serve",
        help="serve a model",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model_help = Config.model_fields["model"].description
    serve_parser.add_argument("model", nargs="?", metavar="MODEL", help=model_help)
    for settings in GROUPS:
        group = serve_parser.add_argument_group(settings.heading)
        for name in settings.model_fields:
            if name != "model":
                add_setting(group, name)
    engine_group = add_bench_parser(commands)
    for name in ENGINE_OPTIONS:
        add_setting(engine_group, name)
    return parser


def add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    """The option of one field of `Config`."""
    default = f" [{load_defaults()[name]}]" if name in load_defaults() else ""
    description = Config.model_fields[name].description
    group.add_argument("--" + name.replace("_", "-"), dest=name, metavar="VALUE", help=f"{description}{default}")


def fail(message: str, code: int = 1) -> NoReturn:
    print(f"millrace: {message}", file=sys.stderr)
    raise SystemExit(code)


def serve(config: Config) -> None:
    """Run the server until a signal ends it. Exits with 1 if the model cannot be served."""
    configure_logging(config.log_level, config.log_format)
    from app.api.run import run_server  # FastAPI takes its time; --help and errors need not wait for it

    reason = run_server(config)
    if reason is not None:
        fail(reason)
