"""Our pipelines in diffusers' own test mixins: copied into a checkout of its tests, and run there.

Each family is tested twice: without an adapter, and with one at scale 0 that is given a person and an
expression in every call, so that its layers work and must not change a thing.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import diffusers
import pytest
import torch
from tests.pipelines.stable_diffusion import test_stable_diffusion as sd_tests
from tests.pipelines.stable_diffusion.ip_adapter_tester import IPAdapterTesterMixin
from tests.pipelines.stable_diffusion_xl import test_stable_diffusion_xl as xl_tests
from tests.pipelines.testing_utils import (
    LoraMemoryTesterMixin,
    LoraTesterMixin,
    MemoryTesterMixin,
    PipelineTesterMixin,
    UNetLoraTesterMixin,
)
from tests.testing_utils import torch_device
from transformers import CLIPTokenizer

from emoji_adapter import (
    EmojiAdapter,
    EmojiDiffSDPipeline,
    EmojiDiffSDXLImg2ImgPipeline,
    EmojiDiffSDXLPipeline,
)
from emoji_adapter.pipelines.signature import with_stock_arguments

SIZES = {
    "identity_width": 16, "identity_tokens": 2, "expression_dim": 8, "expression_tokens": 3,
    "resampler_width": 8, "resampler_depth": 1, "resampler_heads": 1, "blendshape_width": 8,
}  # fmt: skip


def silent(kind):
    """A pipeline class whose adapter, if there is one, is given faces in every call, at scale 0."""

    def call(self, *args, **kwargs):
        if self.emoji_adapter is not None:
            kwargs |= {"identity_embeds": torch.ones(1, 512), "expression_embeds": torch.ones(1, 4, 8)}
        return kind.__call__(self, *args, **kwargs)

    scales = {"identity": 0.0, "expression": 0.0}
    body = {"__call__": with_stock_arguments(kind.__call__, call), "_emoji_scales": scales}
    return type(f"Silent{kind.__name__}", (kind,), body)


Silent, SilentXL = silent(EmojiDiffSDPipeline), silent(EmojiDiffSDXLPipeline)
SilentXLImg2Img = silent(EmojiDiffSDXLImg2ImgPipeline)
for known in (EmojiDiffSDPipeline, EmojiDiffSDXLPipeline, Silent, SilentXL):
    setattr(diffusers.pipelines, known.__name__, known)  # where a test looks for the source of encode_prompt


class Tokenizer:
    """Instead of the tiny one on the Hub; it knows letters only."""

    @staticmethod
    def from_pretrained(_name):
        letters = [chr(i) for i in range(33, 127)]
        words = [
            "<|startoftext|>",
            "!",
            "<|endoftext|>",
            *letters[1:],
            *(f"{letter}</w>" for letter in letters),
        ]
        return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


for module in (sd_tests, xl_tests):
    module.CLIPTokenizer = Tokenizer


def with_adapter(components):
    torch.manual_seed(0)
    adapter = EmojiAdapter.for_unet(components["unet"], **SIZES).eval()
    for name, parameter in adapter.named_parameters():
        if name.startswith("to_v"):
            torch.nn.init.normal_(parameter)
    return {**components, "emoji_adapter": adapter}


class Config(sd_tests.StableDiffusionPipelineTesterConfig):
    """SD without an adapter."""

    stock = diffusers.StableDiffusionPipeline
    pipeline_class = EmojiDiffSDPipeline

    def get_dummy_components(self, **kwargs):
        return {**super().get_dummy_components(**kwargs), "emoji_adapter": None}

    def get_stock_pipeline(self):
        components = self.get_dummy_components()
        del components["emoji_adapter"]
        return self.stock(**components).to(torch_device)


class AttachedConfig(Config):
    """SD with an adapter at scale 0."""

    pipeline_class = Silent

    def get_dummy_components(self, **kwargs):
        return with_adapter(super().get_dummy_components(**kwargs))


class XLConfig(Config):
    """SDXL without an adapter, for the mixins in the newer style."""

    stock = diffusers.StableDiffusionXLPipeline
    pipeline_class = EmojiDiffSDXLPipeline

    def get_dummy_components(self, **kwargs):
        components = xl_tests.StableDiffusionXLPipelineFastTests.get_dummy_components(self, **kwargs)
        return {**components, "emoji_adapter": None}


class AttachedXLConfig(XLConfig):
    """SDXL with an adapter at scale 0."""

    pipeline_class = SilentXL

    def get_dummy_components(self, **kwargs):
        return with_adapter(super().get_dummy_components(**kwargs))


class Pipeline(PipelineTesterMixin):
    """All tests of a pipeline, and that the stock one draws the same."""

    def test_encode_prompt_works_in_isolation(self):  # as diffusers' tests of Stable Diffusion do it
        extra = {"device": torch.device(torch_device).type, "do_classifier_free_guidance": True}
        return super().test_encode_prompt_works_in_isolation(extra)

    def test_the_stock_pipeline_draws_the_same(self, base_pipe_output):
        assert torch.equal(self.run_pipe(self.get_stock_pipeline()), base_pipe_output)


class Lora(LoraTesterMixin, UNetLoraTesterMixin):
    """The user's own LoRAs, and that the stock pipeline draws the same with them."""

    def test_the_stock_pipeline_draws_the_same(self, base_pipe_output):
        ours, stock = (self.with_lora(p) for p in (self.get_pipeline(), self.get_stock_pipeline()))
        assert torch.equal(ours, stock)
        assert not torch.allclose(ours, base_pipe_output, atol=1e-3, rtol=1e-3)

    def with_lora(self, pipe):
        torch.manual_seed(0)
        self.add_adapters_to_pipeline(pipe)
        return self.run_pipe(pipe.to(torch_device))


class TestSD(Config, Pipeline):
    """All tests of a pipeline."""


class TestSDMemory(Config, MemoryTesterMixin):
    """Offloading and layerwise casting."""


class TestSDIPAdapter(Config, IPAdapterTesterMixin):
    """The user's own IP-Adapter."""


class TestSDLora(Config, Lora):
    """The user's own LoRAs."""


class TestSDLoraMemory(Config, LoraMemoryTesterMixin):
    """LoRAs and offloading."""


class TestAttachedSD(AttachedConfig, Pipeline):
    """All tests of a pipeline."""


class TestAttachedSDMemory(AttachedConfig, MemoryTesterMixin):
    """Offloading and layerwise casting."""


class TestAttachedSDLora(AttachedConfig, Lora):
    """The user's own LoRAs."""


class TestAttachedSDLoraMemory(AttachedConfig, LoraMemoryTesterMixin):
    """LoRAs and offloading."""


class TestXL(xl_tests.StableDiffusionXLPipelineFastTests):
    """All tests of SDXL, older in style."""

    pipeline_class, img2img = EmojiDiffSDXLPipeline, EmojiDiffSDXLImg2ImgPipeline
    test_ip_adapter = xl_tests.IPAdapterTesterMixin.test_ip_adapter  # without a recorded picture

    def get_dummy_components(self, **kwargs):
        return {**super().get_dummy_components(**kwargs), "emoji_adapter": None}

    def setUp(self):
        super().setUp()
        self.monkeypatch = pytest.MonkeyPatch()
        self.monkeypatch.setattr(xl_tests, "StableDiffusionXLPipeline", self.pipeline_class)
        self.monkeypatch.setattr(xl_tests, "StableDiffusionXLImg2ImgPipeline", self.img2img)

    def tearDown(self):
        self.monkeypatch.undo()
        super().tearDown()

    def test_stable_diffusion_xl_euler(self):
        """Against the stock pipeline's picture instead of a recorded one."""
        ours, stock = self.get_dummy_components(), self.get_dummy_components()
        del stock["emoji_adapter"]
        pipes = self.pipeline_class(**ours), diffusers.StableDiffusionXLPipeline(**stock)
        first, second = (pipe(**self.get_dummy_inputs("cpu")).images for pipe in pipes)
        assert (first == second).all()


class TestXLMemory(XLConfig, MemoryTesterMixin):
    """Offloading and layerwise casting."""


class TestXLIPAdapter(XLConfig, IPAdapterTesterMixin):
    """The user's own IP-Adapter."""


class TestXLLora(XLConfig, Lora):
    """The user's own LoRAs."""


class TestXLLoraMemory(XLConfig, LoraMemoryTesterMixin):
    """LoRAs and offloading."""


class TestAttachedXL(TestXL):
    """The same with an adapter at scale 0; an IP-Adapter beside it is refused."""

    pipeline_class, img2img = SilentXL, SilentXLImg2Img
    test_ip_adapter = test_ip_adapter_cfg = test_ip_adapter_faceid = test_ip_adapter_masks = None

    def get_dummy_components(self, **kwargs):
        return with_adapter(super().get_dummy_components(**kwargs))


class TestAttachedXLMemory(AttachedXLConfig, MemoryTesterMixin):
    """Offloading and layerwise casting."""


class TestAttachedXLLora(AttachedXLConfig, Lora):
    """The user's own LoRAs."""


class TestAttachedXLLoraMemory(AttachedXLConfig, LoraMemoryTesterMixin):
    """LoRAs and offloading."""
