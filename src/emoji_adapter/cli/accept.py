"""`emoji-adapter accept`: the scores of an adapter on your own checkpoint, people and expressions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from emoji_adapter.cli.device import ConfigOption, DeviceOption, DtypeOption, resolve_device, resolve_dtype
from emoji_adapter.cli.drawing import BatchOption, GuidanceOption, StepsOption, drawing_settings
from emoji_adapter.errors import InputError, MissingExtraError

PROMPTS = {
    "photo": "a photo portrait of a person, looking at the camera",
    "anime": "an anime portrait of a person, looking at the viewer",
    "painting": "an oil painting, portrait of a person, looking at the viewer",
}
"""The styles that EmojiDiff is thought to be scored in; its prompts are not published: our choice."""

ACCEPT_GUIDANCE = 3.0
"""Classifier-free guidance of all rows, whatever the checkpoint, so that tables can be compared. Our choice,
unmeasured."""


def command(
    people: Annotated[Path, typer.Option(help="Folder of photos, a sub-folder a person.")],
    templates: Annotated[Path, typer.Option(help="Folder of expression pictures, of other people.")],
    checkpoint: Annotated[
        str, typer.Option(help="A Stable Diffusion folder, .safetensors file or Hub id, or micro.")
    ],
    adapter: Annotated[str, typer.Option(help="An adapter's folder, file or Hub id, or micro.")],
    judge: Annotated[
        str,
        typer.Option(
            help="Recogniser that scores identity, not the adapter's own: a pack, a folder or an .onnx file."
        ),
    ] = "antelopev2",
    landmarker: Annotated[
        Path | None, typer.Option(help="MediaPipe's face_landmarker.task, for Exp and LMS.")
    ] = None,
    clip: Annotated[str | None, typer.Option(help="A CLIP folder or Hub id, for CLIP-T.")] = None,
    swapper: Annotated[
        Path | None, typer.Option(help="Face swapper (.onnx), for the opponent generate-then-swap.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="STYLE=TEXT", help="A style and its prompt; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    steps: StepsOption = 25,
    guidance: GuidanceOption = ACCEPT_GUIDANCE,
    batch: BatchOption = 4,
    keep: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is drawn: an interrupted table goes on.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this .json file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with pictures to this .html file.")
    ] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    dtype: DtypeOption = "float32",
) -> None:
    """Score an adapter on photographs: identity, expression, leak, prompt, faces found.

    There is no perfect answer to compare with: places between floor and ceiling are left out, and leak is
    what the template adds to the identity-only row.
    """
    from emoji_adapter.cli.generate import check_numbers
    from emoji_adapter.cli.table import check_table_outputs, library_versions, run_table, show

    check_numbers(guidance=guidance)
    check_table_outputs(json_file, report)
    prompts = parse_prompts(prompt or [])
    where, number_format = resolve_device(device), resolve_dtype(dtype)

    from emoji_adapter.acceptance.benchmark import FolderBenchmark
    from emoji_adapter.evaluation.comparison import assemble
    from emoji_adapter.evaluation.loading import Pipelines
    from emoji_adapter.faces.swap import FaceSwapper

    benchmark = FolderBenchmark(people, templates, prompts, seed)
    load = Pipelines(checkpoint, adapter, where, dtype=number_format, config=config)
    judges, left_out = _judges(load, judge, landmarker, clip, where)
    for column, reason in left_out.items():
        typer.echo(f"{column} is left out: {reason}", err=True)
    second = None if swapper is None else FaceSwapper(swapper)
    settings = drawing_settings(steps, guidance, batch, where)
    judged = run_table(load, benchmark, judges, _rows(second is not None), settings, second, keep)
    protocol = {
        "seed": seed,
        "identities": len(benchmark.people),
        "expressions": len(benchmark.templates),
        "styles": len(prompts),
        "prompts": prompts,
        "checkpoint": checkpoint,
        "adapter": adapter,
        "judges": judges.name,
        "left_out": left_out,
        "steps": steps,
        "guidance": guidance,
        "device": where,
        "dtype": dtype,
        "versions": library_versions(),
    }
    show(assemble(judged, protocol, {}), judged, json_file, report)


def parse_prompts(given: list[str]) -> dict[str, str]:
    """Read `--prompt`; without any, `PROMPTS`.

    Raises:
        InputError: one does not read STYLE=TEXT, or a style comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        style, equals, words = text.partition("=")
        if not (style and equals and words) or style in found:
            raise InputError(f"--prompt must read STYLE=TEXT, each style once, got {text!r}.")
        found[style] = words
    return found or dict(PROMPTS)


def _judges(
    load: Any, judge: str, landmarker: Path | None, clip: str | None, device: str
) -> tuple[Any, dict]:
    """The judges, and the columns that are left out, with the reason."""
    from emoji_adapter.acceptance.clip_score import ClipScore
    from emoji_adapter.acceptance.face_mesh import FaceMesh
    from emoji_adapter.acceptance.judges import PhotoJudges
    from emoji_adapter.acceptance.recogniser import JudgeRecogniser

    encoders = load().face_encoders
    recogniser = JudgeRecogniser(judge, encoders.analyzer, encoders.second_recogniser)
    left_out, mesh = {"Style, skin leak, pose": "no judge of photographs reads them."}, None
    if landmarker is None:
        left_out["Exp, LMS"] = "give --landmarker, MediaPipe's face_landmarker.task."
    else:
        try:
            mesh = FaceMesh(landmarker)
        except MissingExtraError as error:
            left_out["Exp, LMS"] = str(error)
    if clip is None:
        left_out["CLIP-T"] = "give --clip, such as openai/clip-vit-large-patch14."
    return PhotoJudges(recogniser, mesh, None if clip is None else ClipScore(clip, device)), left_out


def _rows(swaps: bool) -> tuple[Any, ...]:
    from emoji_adapter.evaluation.plan import ADAPTER, RowPlan

    opponent = (RowPlan("generate-then-swap", "swap", identity_off=False),) if swaps else ()
    return (
        RowPlan("plain", "plain"),
        RowPlan("identity only", "identity"),
        RowPlan("expression only", "expression"),
        *opponent,
        RowPlan(ADAPTER, "both", identity_off=False),
    )
