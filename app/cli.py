"""The command line: `millrace serve`, `millrace chat` and `millrace bench`."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import Any

from app.bench.cli import add_bench_parser, bench, bench_engine, misplaced
from app.chat.cli import add_chat_parser, chat
from app.config import ENGINE_SETTINGS, Config, ConfigError, load_config, load_defaults
from app.options import Parser, add_setting, fail, refuse_unknown
from app.serve import serve
from app.settings import ENV_PREFIX, GROUPS

DESCRIPTION = """\
Serve a language model over the OpenAI API, streaming.

  millrace serve                     the small model that comes with Millrace
  millrace serve ./my-model          a directory as transformers saves models
  millrace serve Qwen/Qwen3-0.6B     a model from the hub
  millrace serve ./my-model --port 8001 --max-model-len 4096
"""

EPILOG = f"""\
Defaults are in [brackets]. Every option can also be given in the environment,
in capitals after {ENV_PREFIX}: {ENV_PREFIX}MAX_MODEL_LEN=4096. The command line
wins over the environment, the environment over config/default.toml.
"""

ENGINE_OPTIONS = ("revision", *ENGINE_SETTINGS)
"""What `bench --engine` takes of the server's settings, beside the model."""


def main(arguments: list[str] | None = None) -> None:
    parser = build_parser()
    found, unknown = parser.parse_known_args(arguments)
    options = vars(found)
    command = options.pop("command")
    if unknown:
        refuse_unknown(unknown, command, options)
    if command == "chat":
        raise SystemExit(chat(options))
    if command == "bench":
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


def build_parser() -> Parser:
    """One option per field of `Config`; parsing and checking values is left to it."""
    parser = Parser(prog="millrace", description="Streams text from language models.")
    parser.add_argument("--version", action="version", version=f"millrace {version('millrace')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|chat|bench")
    serve_parser = commands.add_parser(
        "serve",
        help="serve a model",
        usage="%(prog)s [MODEL] [OPTION ...]",
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
    defaults = load_defaults()
    add_chat_parser(commands, f"http://{defaults['host']}:{defaults['port']}")
    engine_group = add_bench_parser(commands)
    for name in ENGINE_OPTIONS:
        add_setting(engine_group, name)
    return parser
