"""What the command line says and takes; nothing is served."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from app import __main__, cli
from app.config import Config, load_defaults
from app.options import metavar_of, shown
from app.settings import ENV_PREFIX, GROUPS

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in list(os.environ):
        if key.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(key)
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Config]:
    """The configurations that would have been served, where there is a `./my-model`."""
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    configs: list[Config] = []
    monkeypatch.setattr(cli, "serve", configs.append)
    return configs


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit code, output and errors of a command line that ends by itself."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


# Help


def test_help_tells_every_setting_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["serve", "--help"], capsys)
    words, defaults = " ".join(out.split()), load_defaults()
    assert code == 0
    assert f"MODEL {Config.model_fields['model'].description}" in words
    for name, field in Config.model_fields.items():
        if name != "model":
            default = f" [{shown(defaults[name])}]" if name in defaults else ""
            assert f"{option(name)} {metavar_of(name, field)} {field.description}{default} " in words


def test_help_shows_what_a_value_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(["serve", "--help"], capsys)
    for shape in ("--dtype {auto,float32,float16,bfloat16}", "--log-prompts {true,false}", "--kv-cache-memory SIZE"):
        assert shape in out
    assert "--drain-seconds SECONDS" in out


def test_help_is_in_groups_and_fits_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(["serve", "--help"], capsys)
    assert max(map(len, out.splitlines())) <= 80
    headings = [line.removesuffix(":") for line in out.splitlines() if line[:1].isalpha() and line.endswith(":")]
    assert headings[-len(GROUPS) :] == [group.heading for group in GROUPS]


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], capsys) == (0, f"millrace {version('millrace')}\n", "")


def test_help_tells_of_the_environment_and_who_wins(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(["serve", "--help"], capsys)
    assert "MILLRACE_MAX_MODEL_LEN=4096" in out
    assert "The command line wins over the environment" in " ".join(out.split())


def test_every_example_in_the_help_is_valid(served: list[Config]) -> None:
    examples = [line.split("  ")[1].split() for line in cli.DESCRIPTION.splitlines() if line.startswith("  millrace")]
    assert len(examples) > 2
    for _, *arguments in examples:
        cli.main(arguments)
    assert len(served) == len(examples)


def test_help_of_the_whole_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    assert "serve" in out


# What is taken


def test_without_options_the_demo_is_served_with_the_defaults(served: list[Config]) -> None:
    cli.main(["serve"])
    [config] = served
    assert (config.model, config.port) == ("demo", 8000)


def test_options_reach_the_configuration(served: list[Config]) -> None:
    cli.main(["serve", "./my-model", "--port", "0", "--max-model-len", "4096", "--kv-cache-memory", "2GiB"])
    [config] = served
    assert (config.model, config.port, config.max_model_len) == ("./my-model", 0, 4096)
    assert config.kv_cache_memory == 2 * 2**30


def test_an_option_wins_over_the_environment(served: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", "1")
    monkeypatch.setenv("MILLRACE_MODEL", "from-the-environment")
    cli.main(["serve", "--port", "2"])
    [config] = served
    assert (config.port, config.model) == (2, "from-the-environment")


@pytest.mark.parametrize("name", [name for name in Config.model_fields if name != "model"])
def test_every_setting_is_an_option_that_reaches_it(name: str) -> None:
    arguments = vars(cli.build_parser().parse_args(["serve", option(name), "some value"]))
    assert arguments[name] == "some value"
    assert {other for other, value in arguments.items() if value is not None} == {"command", name}


# What is refused


@pytest.mark.parametrize(
    "arguments",
    [[], ["sevre"], ["serve", "--prot", "1"], ["serve", "--port"], ["serve", "one", "two"]],
    ids=" ".join,
)
def test_what_is_not_understood_ends_with_2_and_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], served: list[Config]
) -> None:
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert re.fullmatch(r"millrace: .+\n", err)
    assert served == []


def test_an_unknown_option_is_named_with_the_closest_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(["serve", "--prot", "1"], capsys)
    assert err == "millrace: there is no option --prot; did you mean --port? `millrace serve --help` lists all\n"
    _, _, err = run(["serve", "--xyzzy"], capsys)
    assert err == "millrace: there is no option --xyzzy; `millrace serve --help` lists all\n"
    _, _, err = run(["chat", "--nope"], capsys)
    assert err == "millrace: there is no option --nope; `millrace chat --help` lists all\n"


def test_an_option_without_its_value_says_which_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(["serve", "--enforce-eager"], capsys)
    assert err.startswith("millrace: --enforce-eager needs a value: true or false; ")
    _, _, err = run(["serve", "--port", "--host", "::"], capsys)
    assert err.startswith("millrace: --port needs a value: N; ")


@pytest.mark.parametrize(
    ("name", "value"), [("port", "http"), ("kv_cache_memory", "lots"), ("dtype", "int8"), ("chat_template", "/none")]
)
def test_a_bad_value_ends_with_2_and_its_name(
    name: str, value: str, capsys: pytest.CaptureFixture[str], served: list[Config]
) -> None:
    code, out, err = run(["serve", option(name), value], capsys)
    assert code == 2
    assert out == ""
    assert err.startswith((f"millrace: {option(name)} is ", f"millrace: {name}: "))
    assert value in err
    assert served == []


def test_a_misspelt_variable_ends_with_2_and_the_closest_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_PROT", "1")
    code, _, err = run(["serve"], capsys)
    assert code == 2
    assert "did you mean MILLRACE_PORT?" in err


def test_the_module_runs_and_a_mistake_shows_no_traceback() -> None:
    command = [sys.executable, "-m", "app", "serve", "--max-num-seqs", "600"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("millrace: max_num_batched_tokens (512) is less than max_num_seqs (600)")
    assert "Traceback" not in ended.stderr


def test_an_interrupt_that_nobody_heeds_yet_is_a_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert (end.value.code, capsys.readouterr().err) == (130, "millrace: interrupted\n")


INTERRUPTED_WHERE_EXCEPTIONS_ARE_LOST = """
import signal
from app.serve import interrupts_that_end

class Lost:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with interrupts_that_end():
    Lost()
print("it goes on")
"""


def test_an_interrupt_while_modules_are_imported_is_never_lost() -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHERE_EXCEPTIONS_ARE_LOST]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "millrace: interrupted\n")
