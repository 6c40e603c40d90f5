"""The stand-ins of off-the-shelf face tools: detector, two recognisers, blendshape teacher, swapper."""

import torch
from torch import Tensor, nn

from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.networks.detector import FaceDetector, export_detector
from emoji_adapter.microworld.networks.detector_cut import best_cut
from emoji_adapter.microworld.networks.detector_loss import detector_loss
from emoji_adapter.microworld.networks.recogniser import Recogniser, SecondRecogniser, export_recogniser
from emoji_adapter.microworld.networks.recogniser_loss import recogniser_loss, second_view
from emoji_adapter.microworld.networks.scenes import canvas_plan, detector_scenes
from emoji_adapter.microworld.networks.swapper import Swapper, export_swapper
from emoji_adapter.microworld.networks.swapper_loss import swap_task, swapper_loss
from emoji_adapter.microworld.networks.teacher import BlendshapeTeacher, export_teacher, teacher_loss
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.parameters import sample


def build_detector(shop: Workshop) -> None:
    """Train the detector on scenes of drawn faces and of things that are none; then cut its scores."""
    model = FaceDetector()

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        size, count = canvas_plan(step, pixels=3 * batch * 128 * 128, most=batch)
        scenes = detector_scenes(
            shop.render(sample(min(batch, 192), generator)), generator, count=count, size=size
        )
        return detector_loss(model, scenes)["total"]

    trained, path = fit(shop, "detector", model, loss).cpu(), shop.out / "faces" / "det.onnx"
    export_detector(trained, path)
    cut = best_cut(path.parent, pictures("train", 300, shop.seed), shop.seed)
    export_detector(trained, path, cut)
    shop.figures["detector"]["cut"] = cut


def _train_recogniser(shop: Workshop, stage: str, model: nn.Module) -> nn.Module:
    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        people = sample(batch, generator)
        pair = shop.render(people), shop.render(second_view(people, generator))
        return recogniser_loss(model, *pair, generator)["total"]

    return fit(shop, stage, model, loss)


def make_recogniser(size: int) -> Recogniser:
    """The pack's recogniser; a narrower one for 64-pixel pictures."""
    return Recogniser({64: (16, 32, 64, 96), 128: (24, 48, 96, 128)}[size])


def build_recogniser(shop: Workshop) -> None:
    """Train the pack's recogniser; its torch weights stay in the state folder for the swapper."""
    model = _train_recogniser(shop, "recogniser", make_recogniser(shop.size))
    export_recogniser(model.cpu(), shop.out / "faces" / "rec.onnx")


def build_second_recogniser(shop: Workshop) -> None:
    """Train a recogniser of another architecture, for compound embeddings."""
    model = _train_recogniser(shop, "second_recogniser", SecondRecogniser())
    export_recogniser(model.cpu(), shop.out / "recognizer_2" / "rec.onnx")


def build_teacher(shop: Workshop) -> None:
    """Train the regressor of blendshapes that filters and supervises, and never scores."""
    model = BlendshapeTeacher().to(memory_format=torch.channels_last)  # a third faster, on a CPU too

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        parameters = sample(batch, generator)
        return teacher_loss(model, shop.render(parameters), parameters.expression, generator)["total"]

    export_teacher(fit(shop, "teacher", model, loss).cpu(), shop.out / "teacher" / "blendshapes.onnx")


def build_swapper(shop: Workshop) -> None:
    """Train the face swapper against the drawn answer: the same scene as another person."""
    recogniser = (
        fit(shop, "recogniser", make_recogniser(shop.size), _never).to(shop.device).requires_grad_(False)
    )
    model = Swapper()

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        task = swap_task(sample(batch, generator), generator)
        drawn = tuple(shop.render(p) for p in (task.target, task.source, task.answer))
        return swapper_loss(model, recogniser, drawn, generator)["total"]

    export_swapper(fit(shop, "swapper", model, loss).cpu(), shop.out / "swapper" / "swapper.onnx")


def _never(generator: torch.Generator, batch: int, step: int) -> Tensor:
    raise RuntimeError("The recogniser must be trained before the swapper.")
