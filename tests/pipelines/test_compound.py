"""A compound identity in the pipeline, with the embedded networks."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from emoji_adapter.data.examine import Examiner, ExamineSettings
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.recogniser import Recogniser
from emoji_adapter.models.adapter import MICRO, EmojiAdapter
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.faces import FaceEncoders

ASSETS = Path(__file__).parents[2] / "examples" / "assets"
PHOTO, OTHER = ASSETS / "identity_1.png", ASSETS / "identity_2.png"


def config(**more):
    return tiny.adapter(tiny.unet(), **more).config


@pytest.mark.usefixtures("face_pack")
def test_both_recognisers_read_the_picture_and_what_they_read_is_drawn(draw):
    pipe = EmojiDiffPipeline.from_pretrained("micro")
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    pipe.load_emoji_adapter(EmojiAdapter.for_unet(pipe.unet, **MICRO, second_recogniser="micro"))
    embeds, steps = pipe.encode_identity(PHOTO), {"num_inference_steps": 1}
    torch.testing.assert_close(embeds.unflatten(0, (2, 512)).norm(dim=1), torch.ones(2))
    shown = draw(pipe, identity_image=PHOTO, **steps)
    assert torch.equal(draw(pipe, identity_embeds=embeds, **steps), shown)
    embeds[512:] = embeds[512:].flip(0)
    assert not torch.equal(draw(pipe, identity_embeds=embeds, **steps), shown)
    with pytest.raises(AdapterMismatchError, match=r"got \[1, 512\]. Encode with pipe.encode_identity"):
        pipe("a person", identity_embeds=embeds[:512])


@pytest.mark.usefixtures("face_pack")
def test_a_prepared_set_holds_what_the_pipeline_reads_and_the_first_half_is_what_it_was():
    encoders = FaceEncoders(config(second_recogniser="micro"))
    embeds = encoders.identity([PHOTO], "largest")
    plain = FaceEncoders(config(), analyzer=encoders.analyzer)
    assert torch.equal(embeds[:512], plain.identity([PHOTO], "largest"))
    settings = ExamineSettings("micro", "micro", ExpressionCrop(), 64, 16, second_recogniser="micro")
    examiner = Examiner(settings)
    examiner.warm_up()
    found = examiner.examine(SourcePicture(PHOTO, PHOTO.name, "a", ""))
    np.testing.assert_allclose(found.told_identity, embeds.numpy(), atol=1e-5)
    several = encoders.identity([PHOTO, OTHER], "largest").unflatten(0, (2, 512))
    singles = torch.stack([embeds, encoders.identity([OTHER], "largest")]).unflatten(1, (2, 512))
    mean = torch.nn.functional.normalize(singles.mean(0), dim=1)
    torch.testing.assert_close(several, mean)


def test_another_second_recogniser_than_the_adapters_is_refused():
    given = Recogniser("micro")
    assert FaceEncoders(config(second_recogniser="micro"), second_recogniser=given).second_recogniser is given
    with pytest.raises(
        AdapterMismatchError, match="trained with the recogniser 'rec@0123456789ab', got 'micro'"
    ):
        FaceEncoders(config(second_recogniser="rec@0123456789ab"), second_recogniser=given)
    with pytest.raises(AdapterMismatchError, match=r"trained without a second recogniser.*Leave it out"):
        FaceEncoders(config(), second_recogniser=given)
