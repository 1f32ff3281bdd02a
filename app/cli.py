"""The command line: `millrace serve` and `millrace bench`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import NoReturn

from app.bench.cli import add_bench_parser, bench
from app.config import ENV_PREFIX, Config, ConfigError, load_config, load_defaults

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

SERVER_OPTIONS = {"host", "port", "max_queue", "drain_seconds", "step_timeout", "seed", "log_level"}
MODEL_OPTIONS = {"revision", "served_model_name", "chat_template"}


def main(arguments: list[str] | None = None) -> None:
    options = vars(build_parser().parse_args(arguments))
    if options.pop("command") == "bench":
        raise SystemExit(bench(options))
    try:
        config = load_config({name: value for name, value in options.items() if value is not None})
    except ConfigError as error:
        fail(str(error), code=2)
    serve(config)


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
    groups = {
        "model": serve_parser.add_argument_group("the model"),
        "server": serve_parser.add_argument_group("the server"),
        "engine": serve_parser.add_argument_group("the engine"),
    }
    defaults = load_defaults()
    for name, field in Config.model_fields.items():
        if name == "model":
            continue
        group = groups["server" if name in SERVER_OPTIONS else "model" if name in MODEL_OPTIONS else "engine"]
        default = f" [{defaults[name]}]" if name in defaults else ""
        group.add_argument(
            "--" + name.replace("_", "-"), dest=name, metavar="VALUE", help=f"{field.description}{default}"
        )
    add_bench_parser(commands)
    return parser


def fail(message: str, code: int = 1) -> NoReturn:
    print(f"millrace: {message}", file=sys.stderr)
    raise SystemExit(code)


def serve(config: Config) -> None:
    """Run the server until a signal ends it. Exits with 1 if the model cannot be served."""
    logging.basicConfig(level=config.log_level.upper(), format="%(levelname)-8s %(name)s: %(message)s")
    from app.api.run import run_server  # FastAPI takes its time; --help and errors need not wait for it

    reason = run_server(config)
    if reason is not None:
        fail(reason)
