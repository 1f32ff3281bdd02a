"""Checks a model's directory: are its files present, complete, and of a kind that is served?

This takes milliseconds and needs neither torch nor transformers, so a start that cannot succeed ends at once.
"""

from __future__ import annotations

from os.path import lexists
from pathlib import Path
from typing import Any

from app.checkpoint.files import BadCheckpoint, read_json, read_json_if_present, read_text, some_of
from app.checkpoint.quantization import check_dtypes, check_not_quantized
from app.checkpoint.safetensors import read_dtypes

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OTHER_WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.pt", "*.gguf", "*.h5", "*.msgpack")
SLOW_TOKENIZERS = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
CONVERT = "AutoModelForCausalLM.from_pretrained(MODEL).save_pretrained(DIRECTORY) of transformers converts it"


def check_model_files(directory: Path) -> None:
    """Check the configuration and the weights. Raises BadCheckpoint."""
    _check_directory(directory)
    _check_no_adapter(directory)
    if not lexists(directory / CONFIG):
        raise BadCheckpoint(_no_config(directory))
    config = read_json(directory / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise BadCheckpoint(f"{directory / CONFIG} has no model_type, so it is not the configuration of a model")
    check_not_quantized(directory, config)
    read_json_if_present(directory / "generation_config.json")
    for path, names in _weight_files(directory).items():
        dtypes = read_dtypes(path)
        if absent := sorted(names - dtypes.keys()):
            raise BadCheckpoint(
                f"{path} lacks {some_of(absent)}, which {INDEX} says it holds; copy or download both again"
            )
        check_dtypes(path, dtypes)


def check_tokenizer_files(directory: Path) -> None:
    """Check the tokenizer and the chat templates. Raises BadCheckpoint."""
    path = directory / "tokenizer.json"
    if not lexists(path):
        slow = [name for name in SLOW_TOKENIZERS if (directory / name).exists()]
        raise BadCheckpoint(
            f"{path} is missing: {slow[0]} is the file of a slow tokenizer, which "
            "AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIRECTORY) of transformers converts"
            if slow
            else f"{path} is missing, so there is no tokenizer; copy or download the model again"
        )
    if "model" not in read_json(path):
        raise BadCheckpoint(f"{path} is not a tokenizer; copy or download it again")
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"):
        read_json_if_present(directory / name)
    for template in (directory / "chat_template.jinja", *directory.glob("additional_chat_templates/*.jinja")):
        if lexists(template):
            read_text(template)


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise BadCheckpoint(f"{directory} {what}; give the directory with the model's {CONFIG} and {WEIGHTS}")
    try:
        next(directory.iterdir(), None)
    except OSError as error:
        raise BadCheckpoint(f"{directory} cannot be read ({error.strerror}); check its permissions") from error


def _check_no_adapter(directory: Path) -> None:
    path = directory / "adapter_config.json"
    if not lexists(path):
        return
    said = read_json(path)
    raise BadCheckpoint(
        f"{path} makes this an adapter ({said.get('peft_type', 'LoRA')}) of the model "
        f"{said.get('base_model_name_or_path', 'it was trained on')}, and adapters are not served: merge it into that "
        "model (merge_and_unload() of peft) and serve the result"
    )


def _no_config(directory: Path) -> str:
    found = sorted(path.name for path in directory.iterdir())
    if not found:
        return f"{directory} is empty; a model's directory needs {CONFIG}, {WEIGHTS} and tokenizer.json"
    return f"{directory / CONFIG} is missing, so {directory} is not the directory of a model: it holds {some_of(found)}"


def _weight_files(directory: Path) -> dict[Path, set[str]]:
    """The files that hold the weights, each with the names that the index, if there is one, says it holds."""
    single, index = directory / WEIGHTS, directory / INDEX
    if lexists(single):
        return {single: set()}
    if not lexists(index):
        raise BadCheckpoint(_no_weights(directory))
    weight_map: Any = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise BadCheckpoint(f"{index} has no weight_map from names to files; copy or download it again")
    files: dict[Path, set[str]] = {}
    for name, shard in weight_map.items():
        files.setdefault(directory / shard, set()).add(name)
    return dict(sorted(files.items()))


def _no_weights(directory: Path) -> str:
    others = sorted(path.name for pattern in OTHER_WEIGHTS for path in directory.glob(pattern))
    if shards := [name for name in others if name.startswith("model-") and name.endswith(".safetensors")]:
        return f"{directory / INDEX} is missing, which says what {some_of(shards)} hold; copy or download it again"
    missing = f"{directory / WEIGHTS} is missing, and so is {INDEX}"
    if others:
        return f"{missing}: there are weights in {some_of(others)} only, which are not read; {CONVERT}"
    return f"{missing}; copy or download the model again"
