"""Export of the stand-ins to ONNX files that insightface and onnxruntime load as they are."""

import copy
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

logger = logging.getLogger(__name__)

OPSET = 17
_WORTH_HALVING = 256


def export_onnx(
    network: nn.Module,
    examples: Sequence[Tensor],
    path: str | Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    last_initializer: tuple[str, np.ndarray] | None = None,
) -> Path:
    """Write a network as one ONNX file with float16 weights and float32 arithmetic, whole or not at all.

    The TorchScript exporter is used: it needs no package beside torch and folds batch normalisation.

    Args:
        network: moved to the CPU in a copy; the original stays as it is.
        examples: inputs of the right shapes.
        path: the file; its folder is made.
        inputs: names of the inputs.
        outputs: names of the outputs, in order.
        dynamic: name -> axis -> name of the axis that may vary.
        last_initializer: a named array put behind all others, where INSwapper looks for its `emap`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw, partial = path.with_name(path.name + ".raw"), path.with_name(path.name + ".partial")
    frozen = copy.deepcopy(network).cpu().float().eval().requires_grad_(requires_grad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            frozen, tuple(examples), str(raw), dynamo=False, opset_version=OPSET,
            input_names=list(inputs), output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in dynamic.items()},
        )  # fmt: skip
    model = onnx.load(str(raw))
    raw.unlink()
    halve_weights(model)
    if last_initializer is not None:
        name, array = last_initializer
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.producer_name, model.producer_version = "emoji_adapter", ""
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    os.replace(partial, path)
    logger.info("wrote %s, %.2f MB", path, path.stat().st_size / 1e6)
    return path


def halve_weights(model: onnx.ModelProto) -> None:
    """Store the larger float32 initializers as float16 followed by a cast, in place.

    onnxruntime folds the casts when it loads the file. No node is named Sub or Mul, by which insightface's
    recogniser would take the normalisation to be inside the graph.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _WORTH_HALVING:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(
            helper.make_node("Cast", [f"{name}.half"], [name], name=f"Cast_{name}", to=TensorProto.FLOAT)
        )
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
