"""`emoji-adapter probe`: which cross-attention layers carry the expression, and which drag style along."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from emoji_adapter.cli.device import DeviceOption, resolve_device
from emoji_adapter.cli.drawing import BatchOption, GuidanceOption, StepsOption, drawing_settings
from emoji_adapter.config import GUIDANCE
from emoji_adapter.errors import InputError


def command(
    out: Annotated[Path, typer.Option(help="The .json file; the heat map goes beside it as .png.")],
    checkpoint: Annotated[str, typer.Option(help="micro, or a Stable Diffusion folder.")] = "micro",
    adapter: Annotated[str, typer.Option(help="micro, or an adapter's folder, file or Hub id.")] = "micro",
    seed: Annotated[int, typer.Option(min=0, help="Of the people, expressions, scenes and noise.")] = 1000,
    identities: Annotated[int, typer.Option(min=2, help="Test people.")] = 4,
    expressions: Annotated[int, typer.Option(min=1, help="Test expressions.")] = 4,
    styles: Annotated[int, typer.Option(min=1, help="Styles; what drags one along may spare another.")] = 6,
    steps: StepsOption = 15,
    guidance: GuidanceOption = GUIDANCE,
    batch: BatchOption = None,
    least: Annotated[
        float, typer.Option(help="Least expression of a layer, as a share of the strongest.")
    ] = 0.1,
    style: Annotated[float, typer.Option(help="Most style accuracy that a layer may cost.")] = 0.05,
    budget: Annotated[
        float, typer.Option(help="Most of the expression's key and value weights to keep.")
    ] = 0.5,
    cut: Annotated[
        Path | None,
        typer.Option(help="Also write the adapter, cut down to the chosen layers, to this folder."),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Let the expression act in each layer alone, and everywhere but there; choose layers by what it does.

    `emoji-adapter train --layers OUT` trains and saves only the chosen ones; --cut saves them as they are.
    """
    from emoji_adapter.cli.generate import check_numbers, load_pipeline
    from emoji_adapter.cli.output import check_output, write_pictures, write_text
    from emoji_adapter.cli.table import library_versions
    from emoji_adapter.probe.heat_map import heat_map
    from emoji_adapter.probe.rule import Rule, as_json, choose

    check_numbers(guidance=guidance)
    check_output(out, [".json"])
    if cut is not None and cut.exists() and not cut.is_dir():
        raise InputError(f"--cut {cut} is a file. Name a folder.")
    rule = Rule(least, style, budget)
    where = resolve_device(device)
    pipe = load_pipeline(checkpoint, adapter, where)
    settings = drawing_settings(steps, guidance, batch, where)
    probed = _run(pipe, (seed, identities, expressions, styles), settings, where)
    chosen = choose(probed, rule)
    protocol = {
        "seed": seed,
        "identities": identities,
        "expressions": expressions,
        "styles": styles,
        "checkpoint": checkpoint,
        "adapter": adapter,
        "judges": "micro",
        "steps": steps,
        "guidance": guidance,
        "device": where,
        "versions": library_versions(),
    }
    result = as_json(probed, chosen, rule, protocol)
    write_pictures([heat_map(probed, chosen)], [out.with_suffix(".png")])
    write_text(json.dumps(result, indent=1) + "\n", out)
    if cut is not None:
        _cut(pipe, chosen, cut)
    for layer in chosen:
        typer.echo(layer)
    typer.echo(f"{len(chosen)} of {len(probed.effects)} layers chosen; {out} and {out.with_suffix('.png')}")


def _cut(pipe: Any, chosen: list[str], folder: Path) -> None:
    """Save the adapter without the expression branch's other layers, in float16 as training does."""
    import torch

    from emoji_adapter.checkpoints.format import save_adapter
    from emoji_adapter.models.layer_choice import with_expression_layers

    made = with_expression_layers(pipe.emoji_adapter, pipe.unet, chosen)
    before = made.config["recipe"]
    made.register_to_config(recipe=f"{before}; expression in {len(chosen)} layers that a probe chose")
    save_adapter(made, folder, torch.float16)


def _run(pipe: Any, split: tuple[int, int, int, int], settings: Any, device: str) -> Any:
    """Draw the benchmark and probe."""
    from emoji_adapter.cli.progress import progress
    from emoji_adapter.microworld.benchmark import MicroBenchmark
    from emoji_adapter.microworld.judges import MicroJudges
    from emoji_adapter.probe.runner import pictures_of, probe

    seed, identities, expressions, styles = split
    with progress() as bar:
        task = bar.add_task("drawing the benchmark", total=None)
        size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        benchmark = MicroBenchmark(seed, identities, expressions, styles, size=size, device=device)
        bar.update(task, total=pictures_of(pipe, benchmark), description="encoding the faces")

        def advance(name: str, count: int) -> None:
            bar.update(task, description=name, advance=count)

        return probe(pipe, benchmark, MicroJudges(device=device), settings, advance)
