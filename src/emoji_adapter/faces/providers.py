"""Where the ONNX networks of faces run: execution providers and threads of onnxruntime."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoji_adapter.errors import InputError


def usable(providers: Sequence[Any] | None) -> list[Any]:
    """The providers to run on: those of a wish list that this onnxruntime has.

    Args:
        providers: names, or pairs (name, options), best first; None takes insightface's choice: CoreML or
            CUDA where there is one, and the CPU.

    Raises:
        InputError: it has none of them.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if providers is None:
        from insightface.model_zoo.onnxruntime_utils import get_default_providers

        return get_default_providers(available)
    found = [provider for provider in providers if _name(provider) in available]
    if not found:
        raise InputError(
            f"onnxruntime has none of the execution providers {', '.join(map(_name, providers)) or '-'}; "
            f"it has {', '.join(available)}. Name one of these, or install the build that has yours: CUDA "
            "comes with `pip install onnxruntime-gpu`."
        )
    return found


def session_options(threads: int | None) -> Any:
    """How a network runs: silent but for errors, on so many threads.

    Args:
        threads: None takes `OMP_NUM_THREADS`, as torch does and onnxruntime does not: processes side by side
            would else wait for each other; without it onnxruntime's choice, all cores.
    """
    from onnxruntime import SessionOptions  # pyright: ignore[reportAttributeAccessIssue]

    options = SessionOptions()
    options.log_severity_level = 3
    told = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = threads or (int(told) if told.isdecimal() else 0)
    return options


def inference_session(path: Path, providers: Sequence[str] | None, threads: int | None) -> Any:
    """Open a network; onnxruntime's errors pass through.

    Args:
        path: an .onnx file.
        providers: names, best first; None takes CUDA where there is one, and the CPU.
        threads: see `session_options`.
    """
    import onnxruntime

    known = onnxruntime.get_available_providers()
    usual = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
    wanted = list(usual if providers is None else providers)
    return onnxruntime.InferenceSession(str(path), session_options(threads), providers=wanted)


def _name(provider: Any) -> str:
    return provider if isinstance(provider, str) else str(provider[0])
