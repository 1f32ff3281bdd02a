"""`millrace` and `python -m app`."""

import sys


def main() -> None:
    """Run the command line. A Ctrl-C that comes before the server heeds it, or after, is a line and no traceback."""
    try:
        from app import cli  # takes a moment, in which Ctrl-C may come

        cli.main()
    except KeyboardInterrupt:
        print("millrace: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
