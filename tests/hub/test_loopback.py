"""Publishing and loading over HTTP: whole or not at all, and every failure in words."""

import json

import pytest
import torch
from safetensors.torch import load

import tiny
from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.checkpoints.locate import WEIGHT_NAME
from emoji_adapter.errors import HubError, InputError, WeightsNotFoundError
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline
from loopback_hub import TOKEN, Repository

# The client itself uploads large files in a way that its HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

BASE = {"base_model": "somebody/checkpoint"}


def files(hub, repo="org/name"):
    return hub.repositories[repo].commits[-1]


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_what_is_published_is_loaded_again(hub, adapter):
    address = adapter.push_to_hub("org/name", token=TOKEN, private=True, **BASE)
    assert address.startswith(f"{hub.address}/org/name/commit/")
    assert hub.repositories["org/name"].private
    assert set(files(hub)) == {"config.json", WEIGHT_NAME, "README.md"}
    assert same(load_adapter("org/name", token=TOKEN), adapter)
    assert json.loads(files(hub)["config.json"])["recipe"] == "a test (seed 0)"
    assert "/storage/" in " ".join(hub.requests)  # weights went through large file storage


def test_a_pipeline_loads_by_id_revision_and_subfolder(hub, adapter, tmp_path):
    adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    first, _ = hub.repositories["org/name"].at("main")
    other = tiny.adapter(tiny.unet(), seed=5)
    other.push_to_hub("org/name", token=TOKEN, **BASE)
    other.push_to_hub("org/name", token=TOKEN, subfolder="half", variant="fp16", **BASE)
    assert set(files(hub)) >= {"half/config.json", "half/diffusion_pytorch_model.fp16.safetensors"}
    assert "half/README.md" not in files(hub)
    pipe = EmojiDiffSDPipeline(**tiny.components())
    pipe.load_emoji_adapter("org/name", revision=first, cache_dir=tmp_path / "mine")
    assert same(pipe.emoji_adapter, adapter)
    pipe.load_emoji_adapter("org/name", token=False)
    assert same(pipe.emoji_adapter, other)
    named = {"subfolder": "half", "weight_name": "diffusion_pytorch_model.fp16.safetensors"}
    pipe.load_emoji_adapter("org/name", **named)
    assert same(pipe.emoji_adapter, other)
    asked = len(hub.requests)
    pipe.load_emoji_adapter("org/name", revision=first, cache_dir=tmp_path / "mine", local_files_only=True)
    assert len(hub.requests) == asked


@pytest.mark.parametrize("failure", ["break_uploads", "break_commits"])
def test_an_interrupted_upload_publishes_nothing_and_can_be_repeated(hub, adapter, failure):
    setattr(hub, failure, 6)  # the client itself tries an upload six times, a commit once
    with pytest.raises(HubError, match=r"upload to 'org/name' broke off .*all of it or none. Push again"):
        adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    assert files(hub) == {}
    setattr(hub, failure, 0)
    adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    assert same(load_adapter("org/name"), adapter)


def test_an_interrupted_upload_leaves_what_was_published_before(hub, adapter):
    adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    before = dict(files(hub))
    hub.break_commits = 1
    with pytest.raises(HubError, match="broke off"):
        tiny.adapter(tiny.unet(), seed=5).push_to_hub("org/name", token=TOKEN, **BASE)
    assert files(hub) == before


@pytest.mark.parametrize(
    ("repo", "token", "words"),
    [
        ("org/name", "hf_wrong", r"does not accept the token for 'org/name' \(401\)\. Log in with `hf auth"),
        ("org/name", None, r"does not accept the token for 'org/name' \(401\)\. Log in"),
        ("others/name", TOKEN, r"may not write to 'others/name' \(403\).*create_pr=True"),
    ],
)  # fmt: skip
def test_who_may_not_write_is_told(hub, adapter, repo, token, words):
    with pytest.raises(HubError, match=words):
        adapter.push_to_hub(repo, token=token, **BASE)
    assert hub.repositories == {}


def test_a_hub_that_is_not_there(hub, adapter):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(HubError, match=r"upload to 'org/name' broke off .*Connect"):
        adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    with pytest.raises(WeightsNotFoundError, match=r"is not in the cache, and the Hub .* did not answer"):
        load_adapter("org/name")


@pytest.fixture
def published(hub, adapter):
    adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    hub.repositories["org/private"] = Repository(private=True, commits=hub.repositories["org/name"].commits)
    hub.repositories["org/gated"] = Repository(gated=True, commits=hub.repositories["org/name"].commits)
    return hub


@pytest.mark.parametrize(
    ("repo", "where", "error", "words"),
    [
        ("org/name", {"token": "hf_wrong"}, HubError, r"does not accept the token .* 'org/name' \(401\)"),
        ("org/private", {}, WeightsNotFoundError, "no such repository on the Hub, or it is private"),
        ("org/none", {"token": TOKEN}, WeightsNotFoundError, "'org/none', which is no folder .* no such rep"),
        ("org/gated", {"token": TOKEN}, HubError, "is gated. Ask its owner"),
        ("org/name", {"revision": "v9"}, WeightsNotFoundError, "it has no revision 'v9'"),
        ("org/name", {"subfolder": "sub"}, WeightsNotFoundError, f"it holds no sub/{WEIGHT_NAME}"),
        ("org/none", {"force_download": True, "token": TOKEN}, WeightsNotFoundError, "no such repository"),
        ("org/name", {"force_download": True, "local_files_only": True}, InputError, "at the same time"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_not_allowed_is_told(published, repo, where, error, words):
    with pytest.raises(error, match=words):
        load_adapter(repo, **where)


@pytest.mark.parametrize("cut", [0, 4000])
def test_a_truncated_download_is_not_kept(published, adapter, tmp_path, cut):
    published.cut_downloads = cut
    with pytest.raises(HubError, match=rf"download of {WEIGHT_NAME} from 'org/name' broke off .*try again"):
        load_adapter("org/name", cache_dir=tmp_path / "mine")
    assert [path for path in (tmp_path / "mine").rglob("*.safetensors") if path.is_file()] == []
    published.cut_downloads = None
    assert same(load_adapter("org/name", cache_dir=tmp_path / "mine"), adapter)


def test_half_precision_is_what_the_adapter_has(hub, adapter):
    torch.nn.Module.to(adapter, torch.float16)
    adapter.push_to_hub("org/name", token=TOKEN, **BASE)
    assert {tensor.dtype for tensor in load(files(hub)[WEIGHT_NAME]).values()} == {torch.float16}


def test_a_card_that_somebody_wrote_is_kept_when_asked(hub, adapter):
    hub.repositories["org/name"] = Repository(commits=[{"README.md": b"mine"}])
    adapter.push_to_hub("org/name", token=TOKEN, keep_card=True, **BASE)
    assert files(hub)["README.md"] == b"mine"


def test_what_others_could_not_load_is_not_published(hub, tmp_path):
    with pytest.raises(InputError, match=r"family 'other': say which one .*--base-model OWNER/NAME"):
        tiny.adapter(tiny.unet()).push_to_hub("org/name", token=TOKEN)
    local = tiny.adapter(tiny.unet(), expression_encoder=str(tmp_path))
    with pytest.raises(InputError, match=r"a folder of this machine.*register_to_config"):
        local.push_to_hub("org/name", token=TOKEN, **BASE)
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        tiny.adapter(tiny.unet()).push_to_hub("org/name", evaluation=tmp_path / "scores.json", **BASE)
    with pytest.raises(InputError, match="'a/b/c' cannot be a repository"):
        tiny.adapter(tiny.unet()).push_to_hub("a/b/c", token=TOKEN, **BASE)
    assert hub.requests == []
