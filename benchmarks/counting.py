"""What a call of the U-Net costs beyond the plain one, counted on the meta device: nothing is timed.

One picture under guidance (batch 2), 512 pixels for SD1.5 and 1024 for SDXL. Attention counts as one
operation, as the fused kernels do it; views count as none. FLOPs are those of products and attention (2 for a
multiply-add).

`dispatched` holds the operations without any rule for attention, as two devices dispatch them, with and
without views: `cpu`, where attention is one operation, `aten::_scaled_dot_product_flash_attention_for_cpu`
(counted on fake tensors, which take the ways of the device that they stand for), and `meta`, which has no
kernel of attention and dispatches its formula, five operations in float32.

The stock way is diffusers' `IPAdapterAttnProcessor2_0` with two adapters: FaceID for the person and Plus for
the picture of the expression, in the sizes of the published files. What it projects, it projects in every
call of the U-Net; ours does so once for all steps ("once").
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import (
    IPAdapterFaceIDImageProjection,
    IPAdapterPlusImageProjection,
    MultiIPAdapterImageProjection,
)
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import CARRIER
from emoji_adapter.models.layers import attention_of, cross_attention_layers

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from true_unets import CONFIGS

BAR = 0.2
ROWS, TEXT_TOKENS, PATCHES, FEATURES = 2, 77, 257, 1280
TOKENS = {"identity": 4, "expression": 16}
PLUS = {"sd15": (768, 12), "sdxl": (1280, 20)}
"""Inner width and heads of the resampler in the published Plus files."""

NO_WORK = ("aten::_unsafe_view", "aten::empty", "aten::new_empty", "aten::empty_like", "aten::detach")


class Counter(TorchDispatchMode):
    """Operations that do work, and FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.flops = 0
        self._attention = OneAttention(self)

    def __enter__(self) -> "Counter":
        self._attention.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.operations += does_work(func)
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=made)
        return made

    def figures(self) -> dict[str, int]:
        return {"operations": self.operations, "flops": self.flops}


class Dispatched(TorchDispatchMode):
    """Operations as they are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.with_views = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "aten":  # not where fake tensors are asked for their device
            self.operations += does_work(func)
            self.with_views += 1
        return func(*args, **(kwargs or {}))

    def figures(self) -> dict[str, int]:
        return {"operations": self.operations, "with_views": self.with_views}


def does_work(func: Any) -> bool:
    """Whether an operation is more than a view or an allocation."""
    return not func.is_view and func.name().split(".")[0] not in NO_WORK


class OneAttention(TorchFunctionMode):
    """Fused attention as one operation, whose result lies in memory as the kernels leave it."""

    def __init__(self, counter: Counter):
        super().__init__()
        self._counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        batch, heads, positions, width = query.shape
        self._counter.operations += 1
        self._counter.flops += 2 * batch * heads * positions * key.shape[2] * (width + value.shape[3])
        made = query.new_empty(batch, positions, heads, value.shape[3])
        return made.transpose(1, 2)


def count_families() -> dict[str, Any]:
    """Figures of both families, with the bar."""
    figures: dict[str, Any] = {"batch": ROWS, "bar": BAR}
    for family in CONFIGS:
        with torch.device("meta"), torch.no_grad():
            figures[family] = count_family(family)
        figures[family]["dispatched"] = count_dispatched(family)
        for name, value in ratios(figures[family]).items():
            print(f"{family}: {name} of ours over stock's: {value:.3f} (bar {BAR})")
    return figures


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """All ratios of a family by name."""
    dispatched = {
        f"{name}, dispatched on {device}": value
        for device, found in figures["dispatched"].items()
        for name, value in found["ratio"].items()
    }
    return figures["ratio"] | dispatched


def count_dispatched(family: str) -> dict[str, Any]:
    """Operations of a family as they are dispatched on a CPU and on the meta device."""
    figures = {}
    for device, world in (("cpu", FakeTensorMode()), ("meta", torch.device("meta"))):
        with world, torch.no_grad():
            figures[device] = count_family(family, Dispatched)
            figures[device].pop("layers")
    return figures


def count_family(family: str, counter: type[Counter] | type[Dispatched] = Counter) -> dict[str, Any]:
    """Plain figures, what either way adds, and the ratio."""
    unet = UNet2DConditionModel(**CONFIGS[family]).eval()
    return count_ways(unet, family, counter)


def count_ways(unet: Any, family: str, counter: type[Counter] | type[Dispatched]) -> dict[str, Any]:
    """The same of a U-Net with the stock files of a family."""
    plain = counted(lambda: call(unet), counter)
    adapter = EmojiAdapter.for_unet(unet).eval()
    adapter.attach(unet)
    once = counter()
    with once:
        kv = adapter(
            adapter.identity_tokens_of(torch.empty(1, 512)),
            adapter.expression_tokens_of(torch.empty(1, PATCHES, FEATURES)),
        )
    ours = extra(counted(lambda: call(unet, cross_attention_kwargs={CARRIER: kv}), counter), plain)
    adapter.detach(unet)
    embeds = make_stock(unet, family)
    stock = extra(counted(lambda: call(unet, image_embeds=embeds), counter), plain)
    return {
        "layers": {branch: len(adapter.config[f"{branch}_layers"]) for branch in TOKENS},
        "plain": plain,
        "ours_extra": ours,
        "ours_once": once.figures(),
        "stock_extra": stock,
        "ratio": {name: ours[name] / stock[name] for name in plain},
    }


def counted(run: Callable[[], Any], counter: type[Counter] | type[Dispatched]) -> dict[str, int]:
    """Figures of one run."""
    with counter() as found:
        run()
    return found.figures()


def extra(figures: dict[str, int], plain: dict[str, int]) -> dict[str, int]:
    return {name: figures[name] - plain[name] for name in plain}


def call(unet: Any, image_embeds: list[torch.Tensor] | None = None, **kwargs: Any) -> Any:
    """One call of a U-Net on latents of its usual size."""
    config = unet.config
    conditions: dict[str, Any] = {} if image_embeds is None else {"image_embeds": image_embeds}
    if config.addition_embed_type == "text_time":
        conditions |= {"text_embeds": torch.empty(ROWS, 1280), "time_ids": torch.empty(ROWS, 6)}
    return unet(
        torch.empty(ROWS, 4, config.sample_size, config.sample_size),
        torch.empty(ROWS),
        torch.empty(ROWS, TEXT_TOKENS, config.cross_attention_dim),
        added_cond_kwargs=conditions,
        **kwargs,
    )


def make_stock(unet: Any, family: str) -> list[torch.Tensor]:
    """Gives a U-Net what `load_ip_adapter` gives it for two files; returns the embeddings of a call."""
    cross, (width, heads) = unet.config.cross_attention_dim, PLUS[family]
    for layer, dim in cross_attention_layers(unet).items():
        made = IPAdapterAttnProcessor2_0(dim, cross, num_tokens=list(TOKENS.values()), scale=[1.0, 1.0])
        attention_of(unet, layer).set_processor(made)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection(
        [
            IPAdapterFaceIDImageProjection(512, cross, mult=2, num_tokens=TOKENS["identity"]),
            IPAdapterPlusImageProjection(
                embed_dims=FEATURES,
                output_dims=cross,
                hidden_dims=width,
                heads=heads,
                num_queries=TOKENS["expression"],
            ),
        ]
    )
    unet.config.encoder_hid_dim_type = "ip_image_proj"
    return [torch.empty(ROWS, 1, 512), torch.empty(ROWS, 1, PATCHES, FEATURES)]
