import json
from pathlib import Path

import pytest
import torch

from emoji_adapter.errors import WeightsNotFoundError
from emoji_adapter.microworld.networks.judges import (
    ExpressionJudge,
    IdentityJudge,
    Judge,
    SceneJudge,
    skin_of,
)
from emoji_adapter.microworld.networks.margin import MarginHead
from emoji_adapter.microworld.networks.softening import soften
from emoji_adapter.renderer.parameters import FaceParameters, sample
from emoji_adapter.renderer.render import Rendered, render

JUDGES = {IdentityJudge: 1_000_000, ExpressionJudge: 800_000, SceneJudge: 300_000}


@pytest.fixture(scope="module")
def faces() -> tuple[FaceParameters, Rendered]:
    parameters = sample(4, torch.Generator().manual_seed(0))
    return parameters, render(parameters)


def readings(judge: Judge, images: torch.Tensor) -> torch.Tensor:
    out = judge(images)
    return out if isinstance(out, torch.Tensor) else torch.cat(list(vars(out).values()), dim=-1)


@pytest.mark.parametrize(("kind", "limit"), JUDGES.items())
def test_sizes(kind: type[Judge], limit: int) -> None:
    assert limit / 2 < sum(p.numel() for p in kind().parameters()) <= limit


@pytest.mark.parametrize("kind", JUDGES)
def test_one_picture_reads_the_same_alone_and_in_a_batch(kind: type[Judge], faces: tuple) -> None:
    judge, images = kind().eval(), faces[1].image
    torch.testing.assert_close(readings(judge, images)[2:3], readings(judge, images[2:3]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", JUDGES)
def test_any_size_is_read(kind: type[Judge]) -> None:
    judge = kind()
    assert (
        readings(judge, torch.rand(2, 3, 96, 200)).shape == readings(judge, torch.rand(2, 3, 128, 128)).shape
    )


@pytest.mark.parametrize("kind", JUDGES)
def test_training_lowers_the_loss(kind: type[Judge], faces: tuple) -> None:
    torch.manual_seed(0)
    judge = kind()
    head = MarginHead(4)
    extra = (torch.arange(4), head) if kind is IdentityJudge else ()
    optimiser = torch.optim.AdamW([*judge.parameters(), *head.parameters()], 1e-3)
    losses = []
    for step in range(8):
        loss = judge.loss(*faces, *extra, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None for p in judge.parameters())
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


def test_identities_have_length_one_and_the_margin_grows(faces: tuple) -> None:
    judge, head = IdentityJudge(), MarginHead(4, warmup=4)
    embeddings = judge(faces[1].image)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(4))
    losses = torch.stack([head(embeddings.detach(), torch.arange(4)) for _ in range(7)])
    assert (losses[:5].diff() > 0).all()
    assert losses[4] == losses[5] == losses[6]
    assert head.state_dict()["calls"] == 7


@pytest.mark.parametrize("kind", JUDGES)
def test_save_and_load_keep_the_readings(kind: type[Judge], faces: tuple, tmp_path: Path) -> None:
    judge = kind().eval()
    judge.save(tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"{kind.name}.json", f"{kind.name}.safetensors"]
    loaded = kind.load(tmp_path)
    assert not any(p.requires_grad for p in loaded.parameters())
    close = torch.cosine_similarity(readings(judge, faces[1].image), readings(loaded, faces[1].image))
    assert close.min() > 0.9999


def test_missing_and_foreign_judges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="microworld build"):
        SceneJudge.load(tmp_path)
    SceneJudge().save(tmp_path)
    record = json.loads((tmp_path / "scene.json").read_text())
    record["meaning"]["style"] = ["baroque"]
    (tmp_path / "scene.json").write_text(json.dumps(record))
    with pytest.raises(WeightsNotFoundError, match="baroque"):
        SceneJudge.load(tmp_path)


def test_softening_changes_most_pictures_a_little_and_depends_on_its_generator_only() -> None:
    images = render(sample(32, torch.Generator().manual_seed(1)), 64).image
    first, again, other = (soften(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)
    change = (first - images).abs().mean(dim=(1, 2, 3))
    assert 2 <= int((change < 1e-6).sum()) <= 16
    assert change.max() < 0.15
    assert first.min() >= 0
    assert first.max() <= 1


def test_skin_numbers() -> None:
    parameters = sample(3, torch.Generator().manual_seed(0))
    assert skin_of(parameters).equal(parameters.identity[:, :2])
