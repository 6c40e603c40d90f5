"""Checkpoints from the Hub, over HTTP from a server on the loopback interface, by the real client."""

import pytest
import torch

import original_layout
import tiny
import tiny_families as families
from emoji_adapter.errors import WeightsNotFoundError
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from loopback_hub import LoopbackHub, Repository
from tiny_families import both, draw

pytestmark = pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument is deprecated")
KIND = families.kind_of("SDXL", "text-to-image")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    root = tmp_path_factory.mktemp("repositories")
    pipe = families.pipeline(KIND.ours, KIND.family, KIND.task)
    families.pipeline(KIND.stock, KIND.family, KIND.task).save_pretrained(root / "stock")
    pipe.load_emoji_adapter(tiny.adapter(pipe.unet))
    pipe.save_pretrained(root / "ours")
    (root / "file").mkdir()
    original_layout.write(pipe, root / "file" / "model.safetensors")
    return {f"owner/{name}": root / name for name in ("stock", "ours", "file")}


@pytest.fixture
def hub(repositories, monkeypatch, tmp_path):
    """Arguments of a call that reads from the server."""
    with LoopbackHub({name: Repository.of(folder) for name, folder in repositories.items()}) as server:
        server.connect(monkeypatch, tmp_path)
        yield {"cache_dir": str(tmp_path / "mine")}


def test_a_stock_repository_and_one_of_ours_with_its_adapter(repositories, hub):
    stock = EmojiDiffPipeline.from_pretrained("owner/stock", **hub)
    assert type(stock) is KIND.ours
    assert stock.emoji_adapter is None
    ours = EmojiDiffPipeline.from_pretrained("owner/ours", **hub)
    assert ours.emoji_adapter.is_attached(ours.unet)
    local = EmojiDiffPipeline.from_pretrained(repositories["owner/ours"])
    assert torch.equal(draw(ours, KIND.task, **both()), draw(local, KIND.task, **both()))


def test_the_rest_of_a_single_file_comes_from_a_repository(repositories, hub):
    file = repositories["owner/file"] / "model.safetensors"
    made = EmojiDiffPipeline.from_single_file(file, config="owner/stock", **hub)
    assert type(made) is KIND.ours
    with pytest.raises(WeightsNotFoundError, match=r"'owner/nothing'.*pass config=FOLDER"):
        EmojiDiffPipeline.from_single_file(file, config="owner/nothing", **hub)


def test_what_is_not_there_is_told_in_words(hub):
    with pytest.raises(WeightsNotFoundError, match="'owner/nothing' is no checkpoint"):
        EmojiDiffPipeline.from_pretrained("owner/nothing", **hub)
    with pytest.raises(WeightsNotFoundError, match="'owner/file' is no checkpoint"):
        EmojiDiffPipeline.from_pretrained("owner/file", **hub)
