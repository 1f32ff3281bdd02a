"""`millrace chat`: its options. What it does is imported when it is needed."""

from __future__ import annotations

import argparse
import os
from typing import Any

KEY_VARIABLE = "MILLRACE_CHAT_API_KEY"

DESCRIPTION = """\
Talk to a server in the terminal.

  millrace chat                                  the server on this machine
  millrace chat https://mill.example:8443        another one
  echo "What is a KV cache?" | millrace chat     one answer, as plain text

Ctrl-C stops an answer and keeps what has come, Ctrl-D ends. /help lists what
else can be typed.
"""


def add_chat_parser(commands: argparse._SubParsersAction[Any], default_url: str) -> None:
    """Add `chat` to the commands of `millrace`."""
    parser = commands.add_parser(
        "chat",
        help="talk to a server in the terminal",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", default=default_url, help=f"address of the server [{default_url}]"
    )
    parser.add_argument("--model", metavar="NAME", help="model to talk to [the first that the server has]")
    parser.add_argument("--system", metavar="TEXT", help="system message to begin the conversation with")
    parser.add_argument("--api-key", metavar="KEY", help=f"key that the server asks for [{KEY_VARIABLE}]")


def chat(options: dict[str, Any]) -> int:
    """Talk until the user ends it. Returns the exit code: 0 unless the server could not be reached or refused."""
    from app.chat.session import run_chat

    key = options["api_key"] or os.environ.get(KEY_VARIABLE)
    return run_chat(options["url"], key, options["model"], options["system"])
