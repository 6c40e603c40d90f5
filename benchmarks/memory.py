"""What training on SD1.5 and SDXL takes, COMPUTED: real steps of the real loop on tensors without memory.

    python benchmarks/memory.py                # writes benchmarks/results/memory.json; ten minutes of a core
    python benchmarks/memory.py --only sd15

Each stage does one optimiser step (`true_session.py`) on fake tensors, in bfloat16, and every storage is
counted from the operation that makes it until it is freed (`live.py`): networks, gradients, AdamW's moments
and the average, what autograd keeps, checkpointed blocks while they are computed again, and what exists for a
moment only. Gradients of an earlier pass are there already (`accumulate`). Rows are those of the recipe, and
as many are looked at as the stage ever looks at. `memory_check.py` holds the same count against a real step.
Not counted: what the CUDA context, cuBLAS, cuDNN beyond its copies, and the allocator's gaps take (a GB or
two), and the prepared set, which the recipes leave in main memory.

Hours are arithmetic: operations of the forward pass (torch's flop counter), times 2 with the backward pass
(inputs only, for it is frozen), 3 with checkpointing, over `SHARE` of a card's peak.
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from live import AsOnACard, Live
from record import record
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from true_session import Noise, Parts, empty, open_true, own_caches
from true_sizes import CONFIGS, ROOT, VIT_H, parameters

from emoji_adapter.models.adapter import is_adapter_parameter
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.training.config import TrainingConfig, load_recipe
from emoji_adapter.training.decoding import decode
from emoji_adapter.training.draws import share_of_rows
from emoji_adapter.training.loop import train_step
from emoji_adapter.training.session import Session
from emoji_adapter.training.stages import predict

GB = 1e9
LIMIT = 24
"""GB of the card that the recipes are made for."""
STAGES = ("identity", "expression", "takes", "ica", "feedback")
ROWS = (1, 2, 4, 8)
SHARE = 0.35
"""Share of a card's peak that training reaches: an assumption, not a measurement."""
PEAK = {"A100": 312e12, "H100": 989e12, "RTX 4090": 165e12}
"""bfloat16 operations a second with float32 sums, without sparsity: vendor's data sheets."""
DRAWING_PASSES = 2 * 25
"""Forward passes of the U-Net a picture that `idi` draws in bfloat16: 25 steps with guidance."""
aten = torch.ops.aten


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(CONFIGS), help="one family")
    parser.add_argument("--name", default="memory", help="name of the result file")
    options = parser.parse_args()
    families = {family: figures(family) for family in ([options.only] if options.only else CONFIGS)}
    assumed = {"share_of_peak": SHARE, "peak_flops": PEAK, "drawing_passes": DRAWING_PASSES}
    how = "computed on fake tensors, not measured; checked by memory_check.py"
    print(record(options.name, {"how": how, "limit_gigabytes": LIMIT, **assumed, **families}))


def figures(family: str) -> dict[str, Any]:
    """All figures of a family."""
    recipe = recipe_of(family, "expression")
    parts = Parts.of(family, recipe, torch.bfloat16, card=True)
    flops = forward_flops(parts, recipe)
    vision = 2 * parameters(parts.frozen["expression_encoder"]) * ((224 // 14) ** 2 + 1)
    passes = 3 if recipe.gradient_checkpointing else 2
    per_step = recipe.batch * recipe.accumulate * (passes * flops + vision)
    stages = stages_of(family, recipe)
    return {
        "parameters": {
            "adapter": parameters(parts.adapter),
            "expression_branch": trained_by(parts, "expression"),
            **{name: parameters(network) for name, network in parts.frozen.items()},
        },
        "gigabytes": {
            "state": {name: round(size / GB, 2) for name, size in state(parts).items()},
            "stages": stages,
            "previews": shown(f"{family} previews", previews(family, recipe)),
            "in_all_by_rows": by_rows(family, recipe),
        },
        "teraflops_a_forward_pass": round(flops / 1e12, 2),
        "recipe": {
            "rows_a_pass": recipe.batch,
            "passes_a_step": recipe.accumulate,
            "steps": recipe.steps,
            "gradient_checkpointing": recipe.gradient_checkpointing,
            "hours_a_stage": {name: hours(recipe.steps * per_step, peak) for name, peak in PEAK.items()},
            "hours_to_draw_10000_pictures": {
                name: hours(10_000 * DRAWING_PASSES * flops, peak) for name, peak in PEAK.items()
            },
        },
    }


def stages_of(family: str, recipe: TrainingConfig) -> dict[str, dict[str, float]]:
    """GB that each stage of a recipe takes at its highest: as it stands, and with checkpointing."""
    ways = dict.fromkeys([way_of(recipe.gradient_checkpointing), way_of(True)])
    return {
        stage: {
            way: shown(
                f"{family} {stage} {way}", highest(family, recipe_of(family, stage, checkpointing(way)))
            )
            for way in ways
        }
        for stage in STAGES
    }


def by_rows(family: str, recipe: TrainingConfig) -> dict[str, dict[int, float]]:
    """GB of the expression stage by rows of a pass: a line through one row and the recipe's rows."""
    found = {}
    for way in ("plain", "gradient_checkpointing"):
        one, more = (
            highest(family, recipe_of(family, "expression", checkpointing(way), f"batch={rows}"))
            for rows in (1, recipe.batch)
        )
        slope = (more - one) / (recipe.batch - 1)
        found[way] = {rows: round((one + (rows - 1) * slope) / GB, 1) for rows in ROWS}
        print(f"{family} expression {way} by rows: {found[way]}", flush=True)
    return found


def recipe_of(family: str, stage: str, *overrides: str) -> TrainingConfig:
    """The recipe of a family for a stage.

    A feedback run draws in as many steps as get gradients, and one more: the others keep nothing.
    """
    given = [] if stage == "identity" else [f"stage={stage}", "start=micro"]
    config = load_recipe(ROOT / "examples" / "configs" / f"{family}.yaml", [*given, *overrides])
    feedback = dataclasses.replace(config.feedback, steps=config.feedback.graded_steps + 1)
    return dataclasses.replace(config, feedback=feedback)


def way_of(checkpointing: bool) -> str:
    return "gradient_checkpointing" if checkpointing else "plain"


def checkpointing(way: str) -> str:
    return f"gradient_checkpointing={str(way == 'gradient_checkpointing').lower()}"


@contextlib.contextmanager
def counted(card: bool) -> Iterator[Live]:
    """Fake tensors, whose bytes are counted, as on a card if asked for."""
    with (
        own_caches(),
        FakeTensorMode(allow_non_fake_inputs=True),
        Live(card=card) as live,
        AsOnACard() if card else contextlib.nullcontext(),
    ):
        yield live


def highest(family: str, config: TrainingConfig) -> int:
    """Bytes on a card at the highest of a step in bfloat16."""
    return sum(step(family, config, torch.bfloat16, card=True))


def step(family: str, config: TrainingConfig, dtype: torch.dtype, *, card: bool) -> tuple[int, int]:
    """Do a step on fake tensors.

    Returns:
        Bytes before it, and how many more at its highest.
    """
    config = dataclasses.replace(config, accumulate=1)
    parts = Parts.of(family, config, dtype, card=card)
    with counted(card) as live:
        session = open_true(parts, config, empty)
        as_in_mid_run(session)
        live.forget_highest()
        before = live.now
        train_step(session)
        return before, live.highest - before


def as_in_mid_run(session: Session) -> None:
    """Make moments and gradients, and draw a step that looks at as many rows as any does."""
    state = session.state
    for turn in range(2):
        for parameter in state.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        if not turn:
            state.optimizer.step()
    state.step = max(range(1, 50), key=lambda number: looked_at(session.config, number))


def looked_at(config: TrainingConfig, step: int) -> int:
    """Rows, or pairs of them, that a step looks at in its first pass."""
    if config.stage not in ("takes", "ica", "feedback"):
        return 0
    rows = config.batch // 2 if config.stage == "takes" else config.batch
    return share_of_rows(getattr(config, config.stage).share, rows, config.seed, step, 0, 0, 2)


def previews(family: str, config: TrainingConfig) -> int:
    """Bytes at the highest while a grid is drawn: all its pictures in one call, under guidance."""
    parts = Parts.of(family, config, torch.bfloat16, card=True)
    count = config.preview.identities * config.preview.expressions
    with counted(card=True) as live, torch.no_grad():
        session = open_true(parts, config, empty)
        as_in_mid_run(session)
        session.state.optimizer.zero_grad(set_to_none=True)
        live.forget_highest()
        rows = Noise(family).sample(2 * count, session.generator)
        kv = keys_values(parts, count)
        t = torch.zeros(2 * count, dtype=torch.int64)
        predict(session.models, rows.latents.float(), t, rows.text, kv, rows.pooled)
        decode(session.models.vae, rows.latents[:count].float(), rows.landmarks[:count])
        return live.highest


def keys_values(parts: Parts, rows: int) -> dict[str, LayerKV]:
    """Of both branches."""
    features = torch.empty(rows, (224 // 14) ** 2, VIT_H["hidden_size"])
    adapter = parts.adapter
    return adapter(adapter.identity_tokens_of(torch.empty(rows, 512)), adapter.expression_tokens_of(features))


def forward_flops(parts: Parts, config: TrainingConfig) -> int:
    """Operations of one row's forward pass through adapter and U-Net."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        (batch, heads, positions, width), others = query, key[2]
        return 2 * batch * heads * positions * others * (width + value[3])

    known = {aten._scaled_dot_product_flash_attention_for_cpu: attention}
    with counted(card=True), torch.no_grad():
        models = open_true(parts, config, empty).models
        parts.adapter.requires_grad_(False)
        rows = Noise(parts.family).sample(1, torch.Generator())
        with FlopCounterMode(display=False, custom_mapping=known) as counter:
            t = torch.zeros(1, dtype=torch.int64)
            predict(models, rows.latents.float(), t, rows.text, keys_values(parts, 1), rows.pooled)
    return counter.get_total_flops()


def state(parts: Parts) -> dict[str, int]:
    """Bytes that do not depend on the rows, in the expression stage."""
    frozen = {name: parameters(network) for name, network in parts.frozen.items()}
    beside = sum(count for name, count in frozen.items() if name not in ("unet", "expression_encoder"))
    return {
        "unet_bf16": 2 * frozen["unet"],
        "vae_and_text_encoders_bf16": 2 * beside,
        "expression_encoder_fp32": 4 * frozen["expression_encoder"],
        "adapter_and_its_preview_copy_fp32": 2 * 4 * parameters(parts.adapter),
        "gradients_adamw_average_fp32": 4 * 4 * trained_by(parts, "expression"),
    }


def trained_by(parts: Parts, branch: str) -> int:
    """Parameters of a branch."""
    named: Iterator[tuple[str, Tensor]] = parts.adapter.named_parameters()
    return sum(tensor.numel() for name, tensor in named if is_adapter_parameter(name, branch))


def shown(what: str, size: int) -> float:
    """Bytes in GB, printed."""
    print(f"{what}: {size / GB:.1f} GB", flush=True)
    return round(size / GB, 1)


def hours(operations: float, peak: float) -> float:
    return round(operations / (SHARE * peak) / 3600, 1)


if __name__ == "__main__":
    main()
