"""The structures that Python fills and C reads are compared when the kernels are loaded."""

from __future__ import annotations

import ctypes
import shutil
from ctypes import c_int32, c_int64, c_void_p
from pathlib import Path

import pytest
import torch

from app.model.native import compiler, library, structs, variants
from app.model.native.structs import LayoutMismatch, check_layouts

TILE = structs.Tile._fields_


def tile(*fields: tuple[str, type]) -> type[ctypes.Structure]:
    return type("Tile", (ctypes.Structure,), {"_fields_": fields})


CHANGED = {
    "a field that C lacks": tile(*TILE, ("more", c_int32)),
    "a field fewer": tile(*TILE[:-1]),
    "fields in another order": tile(*TILE[2:], *TILE[:2]),
    "a field under another name": tile(("line", c_int32), *TILE[1:]),
    "a field of another size": tile(("row", c_int64), *TILE[1:]),
    "a pointer in the place of two numbers": tile(("row", c_void_p), *TILE[2:]),
}


def test_what_is_written_is_what_is_compiled() -> None:
    check_layouts(library.load_library(torch.float32))


@pytest.mark.parametrize("changed", CHANGED)
def test_a_change_on_the_side_of_python_is_found(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = library.load_library(torch.float32)
    others = [structure for structure in structs.MIRRORED if structure is not structs.Tile]
    monkeypatch.setattr(structs, "MIRRORED", (*others, CHANGED[changed]))
    with pytest.raises(LayoutMismatch, match=r"Tile.* in structs.py and .* in the compiled kernels"):
        check_layouts(kernels)


def test_a_change_on_the_side_of_c_keeps_the_kernels_from_being_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that somebody put into a structure, and nowhere else."""
    sources = shutil.copytree(variants.SOURCE.parent, tmp_path / "native", ignore=shutil.ignore_patterns("*.so"))
    changed = sources / variants.SOURCE.name
    declared = "int64_t scores_stride;"
    assert declared in changed.read_text()
    changed.write_text(changed.read_text().replace(declared, f"{declared} int64_t more;"))
    monkeypatch.setattr(library, "SOURCE", changed)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LayoutMismatch, match=r"Step\.tiles has \(offset, size\)"):
        library.load_library.__wrapped__(torch.float32)


@pytest.mark.parametrize("structure", structs.MIRRORED)
def test_no_structure_has_padding_in_which_a_field_of_one_side_could_hide(structure: type[ctypes.Structure]) -> None:
    sizes = [getattr(structure, field[0]).size for field in structure._fields_]
    assert sum(sizes) == ctypes.sizeof(structure)
