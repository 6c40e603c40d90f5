"""The pipelines of a table: also of a checkpoint in one file, in the number format that is asked for."""

import torch
from tests import original_layout, tiny, tiny_families as families

from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.evaluation.fingerprint import of_checkpoint
from emoji_adapter.evaluation.loading import Pipelines


def test_a_single_file_is_loaded_and_half_precision_is_another_drawing(tmp_path):
    kind = families.kind_of("SD", "text-to-image")
    pipe = families.pipeline(kind.stock, kind.family, kind.task)
    pipe.save_pretrained(tmp_path / "rest")
    file = original_layout.write(pipe, tmp_path / "model.safetensors")
    save_adapter(tiny.adapter(pipe.unet), tmp_path / "adapter")
    names = str(file), str(tmp_path / "adapter")
    whole = Pipelines(*names, config=str(tmp_path / "rest"))
    half = Pipelines(*names, config=str(tmp_path / "rest"), dtype=torch.bfloat16)
    assert whole() is whole()
    assert (whole().unet.dtype, half().unet.dtype) == (torch.float32, torch.bfloat16)
    assert half().emoji_adapter.is_attached(half().unet)
    assert of_checkpoint(whole()) == of_checkpoint(Pipelines(str(tmp_path / "rest"), names[1])())
    assert of_checkpoint(whole()) != of_checkpoint(half())
