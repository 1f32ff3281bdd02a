"""The compiled kernels under the thread sanitizer, and under those for addresses and undefined behaviour.

Only the kernels are instrumented; the sanitizer's library comes into the interpreter first, by LD_PRELOAD.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.model.native import compiler
from tests.e2e.server import ROOT

pytestmark = pytest.mark.slow

FOUND = 66
"""How a process ends in which a sanitizer found something."""

OPTIONS = {
    # torch's own threads synchronise by what is not instrumented
    "TSAN_OPTIONS": f"exitcode={FOUND}:ignore_noninstrumented_modules=1",
    # what the interpreter and torch keep to their end are no leaks of ours
    "ASAN_OPTIONS": f"exitcode={FOUND}:detect_leaks=0",
    "UBSAN_OPTIONS": f"exitcode={FOUND}:print_stacktrace=1",
}
LIBRARIES = {"thread": "libtsan.so", "address,undefined": "libasan.so"}

WRONG = {
    "thread": """
        #include <pthread.h>
        static int shared;
        static void *write(void *to) { for (int i = 0; i < 100000; i++) ++*(volatile int *)to; return 0; }
        void go_wrong(void) {
            pthread_t thread;
            pthread_create(&thread, 0, write, &shared);
            write(&shared);
            pthread_join(thread, 0);
        }""",
    "address,undefined": """
        #include <stdlib.h>
        int go_wrong(void) {
            volatile char *few = malloc(8);
            return few[8];
        }""",
}
LOAD_WRONG = """
import sys
from pathlib import Path
from app.model.native import compiler
compiler.FLAGS = (*compiler.FLAGS, f"-fsanitize={sys.argv[1]}", "-g", "-O1")
compiler.compile_library(Path(sys.argv[2])).go_wrong()
"""


def run(sanitizers: str, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these sanitizers in it. Skips where the compiler has none, or where they do not run."""
    name = LIBRARIES[sanitizers]
    command = [*compiler.find_compiler(), f"-print-file-name={name}"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip(f"the C compiler has no {name}")
    environment = os.environ | OPTIONS | {"LD_PRELOAD": library, "XDG_CACHE_HOME": str(cache)}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200
    )
    if "unexpected memory mapping" in ended.stderr:
        pytest.skip("the thread sanitizer does not run under this kernel's layout of addresses (vm.mmap_rnd_bits)")
    return ended


@pytest.fixture(autouse=True)
def _compiler() -> None:
    try:
        compiler.find_compiler()
    except compiler.NoCompiler as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("sanitizers", LIBRARIES)
def test_what_is_wrong_is_found(sanitizers: str, tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text(WRONG[sanitizers])
    ended = run(sanitizers, tmp_path, "-c", LOAD_WRONG, sanitizers, str(source))
    assert ended.returncode == FOUND, ended.stderr
    assert "go_wrong" in ended.stderr


@pytest.mark.parametrize("sanitizers", LIBRARIES)
def test_steps_of_every_kind_are_clean(sanitizers: str, tmp_path: Path) -> None:
    ended = run(sanitizers, tmp_path, "-m", "tests.sanitized_steps", sanitizers)
    assert ended.returncode == 0, ended.stderr
    assert "Sanitizer" not in ended.stderr
    assert "runtime error" not in ended.stderr
    assert ended.stdout.count(" steps\n") == 4
