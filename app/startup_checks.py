"""Whether a model is there at all, before anything heavy is imported: in its directory, or on the hub."""

from __future__ import annotations

from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from app.checkpoint.files import BadCheckpoint
from app.checkpoint.inspection import CONFIG, check_model_files, check_tokenizer_files

HUB_SECONDS = 1.5
"""How long the hub is waited for. One that is slower is asked again by the download, which waits longer."""


def check_model(model: str, revision: str | None) -> None:
    """Check the files of a directory, or ask the hub whether it has such a model. Raises BadCheckpoint.

    What the hub does not answer in time is left to the download.
    """
    path = Path(model)
    if path.exists():
        check_model_files(path)
        check_tokenizer_files(path)
        return
    import huggingface_hub.hf_api  # noqa: F401 (half a second, in which the hub cannot answer)
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # of the tokenizer's files; the engine reports the rest
    answer: SimpleQueue[str | None] = SimpleQueue()
    # A thread of its own: no time limit of the client's reaches the look-up of a name.
    Thread(target=lambda: answer.put(_ask_hub(model, revision)), name="hub", daemon=True).start()
    try:
        reason = answer.get(timeout=HUB_SECONDS)
    except Empty:
        return
    if reason is not None:
        raise BadCheckpoint(f"there is no directory {model!r}, and {reason}")


def _ask_hub(model: str, revision: str | None) -> str | None:
    """Why the hub cannot give a model; None if it can, or if it has been downloaded before."""
    from huggingface_hub import HfApi, errors, try_to_load_from_cache

    try:
        if isinstance(try_to_load_from_cache(model, CONFIG, revision=revision), str):
            return None
        HfApi().model_info(model, revision=revision, timeout=HUB_SECONDS)
    except errors.HFValidationError:
        return "a model on the hub is named like owner/name"
    except errors.RevisionNotFoundError:
        return f"{model} on the hub has no revision {revision!r}"
    except errors.RepositoryNotFoundError:
        return "the hub has no model of that name; if it is private, set HF_TOKEN to a token that may read it"
    except errors.OfflineModeIsEnabled:
        return "it has not been downloaded before; HF_HUB_OFFLINE keeps it from being asked for on the hub"
    except errors.HfHubHTTPError:
        return None
    except Exception as error:  # httpx's or httpx2's, as the version of huggingface_hub has it
        is_slow = "Timeout" in type(error).__name__
        return None if is_slow else f"the hub cannot be reached: {' '.join(str(error).split())}"
    return None
