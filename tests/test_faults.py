"""A config.json that transformers fails on is refused with the field at fault, whatever the error was."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.model.loading.configuration import inspect_model
from app.model.loading.faults import MAX_SECONDS, fields_at_fault
from app.model.loading.support import UnsupportedModel
from tests.models import ARCHITECTURES

REMEDY = "; correct it, or use the config.json that was published with the model"
DTYPE_REMEDY = REMEDY.replace("correct it", "write one of float32, float16, bfloat16")


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (
            {"rope_parameters": {"rope_type": "mystery", "rope_theta": 1.0}},
            'because of rope_parameters: {"rope_type": "mystery", "rope_theta": 1.0}' + REMEDY,
        ),
        ({"hidden_act": "nonsense"}, 'because of hidden_act: "nonsense"' + REMEDY),
        ({"num_key_value_heads": 0}, "because of num_key_value_heads: 0" + REMEDY),
        ({"torch_dtype": "torch.bfloat16"}, 'because of torch_dtype: "torch.bfloat16"' + DTYPE_REMEDY),
        ({"return_dict": False}, "because of return_dict: false" + REMEDY),
        (
            {"hidden_size": 65},
            "because of hidden_size: 65 (Class validation error for validator 'validate_architecture': "
            "ValueError: The hidden size (65) is not a multiple of the number of attention heads (4).)" + REMEDY,
        ),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0}},
            "(\"Missing required keys in `rope_parameters` for 'rope_type'='yarn': {'factor'}\")" + REMEDY,
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_field_at_fault_is_named(fields: dict[str, Any], refusal: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    ARCHITECTURES["Llama"]().save_pretrained(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(UnsupportedModel) as refused:
        inspect_model(tmp_path)
    assert re.match(rf"transformers cannot (read|build|run) {path} because of ", str(refused.value))
    assert str(refused.value).endswith(refusal)


def test_where_no_single_field_is_at_fault_the_error_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nope"}')
    with pytest.raises(UnsupportedModel, match=r"config.json: ValueError: .*`nope`"):
        inspect_model(tmp_path)


def test_the_search_ends_when_its_time_is_over() -> None:
    tried: list[set[str]] = []
    times = iter((0.0, 0.0, MAX_SECONDS, MAX_SECONDS + 1))
    found = fields_at_fault(dict.fromkeys("abcd"), lambda rest: tried.append(set(rest)), lambda: next(times))
    assert (found, tried) == (["a", "b"], [set("bcd"), set("acd")])
