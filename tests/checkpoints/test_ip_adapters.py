"""IP-Adapter files as branches: there and back key by key, and the pictures of the stock pipeline."""

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file

import tiny
import tiny_ip_adapters as files
from emoji_adapter.checkpoints.export import save_ip_adapters
from emoji_adapter.checkpoints.ip_adapters import IPAdapterFile, from_ip_adapters
from emoji_adapter.checkpoints.key_maps import BLOCKS, MARKER, layers_of
from emoji_adapter.checkpoints.opening import open_adapter
from emoji_adapter.checkpoints.stock import stock_branches
from emoji_adapter.errors import AdapterFormatError, AdapterMismatchError, InputError
from emoji_adapter.models.identity_lora import LORA_NAME
from emoji_adapter.models.layers import cross_attention_layers
from emoji_adapter.pipelines.faces import FaceEncoders
from emoji_adapter.pipelines.stable_diffusion import EmojiDiffSDPipeline
from true_unets import CONFIGS

WIDE = 64
"""Text width of the tiny U-Net here: FaceID-Plus has heads of 64."""

WIDTHS = {"sd15": 768, "sdxl": 2048}


def true_unet(family):
    with torch.device("meta"):
        return UNet2DConditionModel(**CONFIGS[family])


def cheap(*shape):
    """A tensor of a true shape that takes no memory, told from all others by its address."""
    return torch.zeros(1).expand(shape)


@pytest.fixture(scope="module", params=WIDTHS)
def base(request):
    """Family, text width and layers of a true U-Net."""
    return request.param, WIDTHS[request.param], cross_attention_layers(true_unet(request.param))


def test_the_tables_have_the_layers_of_the_true_unets(base):
    family, width, layers = base
    assert layers_of(BLOCKS[family, width]) == layers
    assert list(layers_of(BLOCKS[family, width])) == list(layers)


@pytest.mark.parametrize("kind", ["FaceID", "FaceID-Plus", "Arc2Face"])
def test_there_and_back_is_the_identity_at_true_shapes(base, kind):
    family, width, layers = base
    options = {}
    if kind == "FaceID":
        weights, branch = files.face_id(layers, width, lora=128, made=cheap), "identity"
    elif kind == "FaceID-Plus":
        weights, branch = files.face_id_plus(layers, width, lora=128, made=cheap), "identity"
        options = {"shortcut": True}
    else:
        weights, branch = files.face_id(layers, width, dim=55, tokens=8, made=cheap), "expression"
    opened = IPAdapterFile(weights)
    assert opened.branch == branch
    adapter = from_ip_adapters(**{branch: opened}, **options)
    assert (adapter.config["base_family"], adapter.config["layer_dims"]) == (family, layers)
    back = stock_branches(adapter, layers)
    assert back.keys() == {branch}
    flat = {f"{group}.{name}": value for group, part in back[branch].items() for name, value in part.items()}
    assert flat.keys() == weights.keys()
    for key, value in weights.items():
        assert flat[key].shape == value.shape
        assert flat[key].data_ptr() == value.data_ptr(), key


def tiny_unet(**config):
    return tiny.unet(cross_attention_dim=WIDE, **config)


def pair(unet):
    """A stock pipeline and ours around copies of the same weights."""
    parts = tiny.components()
    parts["unet"] = unet
    stock = StableDiffusionPipeline(**copy.deepcopy(parts))
    ours = EmojiDiffSDPipeline(**parts)
    for pipe in (stock, ours):
        pipe.set_progress_bar_config(disable=True)
    return stock, ours


def draw(pipe, **arguments):
    """A picture of 16x16 under guidance; the text as embeddings, since the tiny text encoder is narrow."""
    words = torch.randn(2, 1, 7, WIDE, generator=torch.Generator().manual_seed(5))
    return pipe(
        prompt_embeds=words[0],
        negative_prompt_embeds=words[1],
        num_inference_steps=2,
        guidance_scale=4.0,
        output_type="pt",
        generator=torch.Generator().manual_seed(0),
        **arguments,
    ).images


def load_stock(pipe, *weights):
    pipe.load_ip_adapter(
        [files.groups(w) for w in weights], "", [""] * len(weights), image_encoder_folder=None
    )
    pipe.set_ip_adapter_scale([0.7] * len(weights))


def zeros_first(embeds):
    return torch.cat([torch.zeros_like(embeds), embeds])


def test_both_branches_draw_the_picture_of_the_stock_pipeline_under_guidance(tmp_path):
    unet = tiny_unet()
    layers = cross_attention_layers(unet)
    torch.manual_seed(0)
    identity = files.face_id(layers, WIDE, lora=4)
    expression = files.face_id(layers, WIDE, dim=55, tokens=8)
    names = {"identity": tmp_path / "faceid.safetensors", "expression": tmp_path / "exp.safetensors"}
    save_file(identity, names["identity"])
    save_file(expression, names["expression"])
    stock, ours = pair(unet)
    plain = draw(ours)
    person, code = tiny.identities(1), torch.randn(1, 55)
    ours.load_emoji_adapter(names)
    ours.set_emoji_adapter_scale(identity=0.7, expression=0.7)
    got = draw(ours, identity_embeds=person, expression_embeds=code)
    load_stock(stock, identity, expression)
    expected = draw(stock, ip_adapter_image_embeds=[zeros_first(person[:, None]), zeros_first(code[:, None])])
    assert (expected - plain).abs().max() > 1e-2
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    alone = draw(ours, expression_embeds=code)
    assert (alone - got).abs().max() > 1e-3
    assert torch.equal(draw(ours), plain)
    ours.set_emoji_adapter_scale(identity=0.0, expression=0.0)
    assert torch.equal(draw(ours, identity_embeds=person, expression_embeds=code), plain)


class Album(FaceEncoders):
    """What the encoders say of every picture."""

    def __init__(self, config, embedding, features):
        super().__init__(config)
        self.embedding, self.features = embedding, features

    def identity(self, pictures, policy):
        return self.embedding

    def identity_features(self, picture, policy, device):
        return self.features


@pytest.mark.parametrize("shortcut", [False, True])
def test_face_id_plus_draws_the_picture_of_the_stock_pipeline(tmp_path, shortcut):
    unet = tiny_unet()
    torch.manual_seed(0)
    weights = files.face_id_plus(cross_attention_layers(unet), WIDE, features=20)
    save_file(weights, tmp_path / "plus.safetensors")
    stock, ours = pair(unet)
    person, features = tiny.identities(1), torch.randn(2, 6, 20)
    ours.load_emoji_adapter(tmp_path / "plus.safetensors", shortcut=shortcut)
    ours.set_emoji_adapter_scale(identity=0.7)
    got = draw(ours, identity_embeds=person, identity_features=features)
    load_stock(stock, weights)
    layer = stock.unet.encoder_hid_proj.image_projection_layers[0]
    layer.clip_embeds, layer.shortcut = features[:, None], shortcut
    expected = draw(stock, ip_adapter_image_embeds=[zeros_first(person[:, None])])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(AdapterMismatchError, match="identity_features"):
        draw(ours, identity_embeds=person)
    ours.face_encoders = Album(ours.emoji_adapter.config, person[0], features)
    assert torch.equal(draw(ours, identity_image="me"), got)


def test_other_loras_stay_active_and_all_is_as_before_afterwards(tmp_path):
    unet = tiny_unet()
    torch.manual_seed(0)
    save_file(files.face_id(cross_attention_layers(unet), WIDE, lora=4), tmp_path / "f.safetensors")
    _, ours = pair(unet)
    bare, plain = repr(unet), draw(ours)
    person = {"identity_embeds": tiny.identities(1)}
    ours.load_emoji_adapter(tmp_path / "f.safetensors")
    alone = draw(ours, **person)
    ours.unload_emoji_adapter()
    assert repr(unet) == bare
    assert not hasattr(unet, "peft_config")
    config = LoraConfig(r=2, target_modules=["to_q", "proj_in"], init_lora_weights=False)
    unet.add_adapter(config, "mine")
    before, keys, mine = repr(unet), list(unet.state_dict()), draw(ours)
    for _ in range(2):
        ours.load_emoji_adapter(tmp_path / "f.safetensors")
        assert ours.get_active_adapters() == ["mine"]
        assert ours.get_list_adapters() == {"unet": ["mine", LORA_NAME]}
        assert torch.equal(draw(ours), mine)
        both = draw(ours, **person)
        assert all((both - other).abs().max() > 1e-3 for other in (alone, mine, plain))
        ours.set_adapters(["mine"], [0.0])
        torch.testing.assert_close(draw(ours, **person), alone, atol=1e-5, rtol=1e-4)
        ours.set_adapters(["mine"], [1.0])
        ours.unload_emoji_adapter()
        assert (repr(unet), list(unet.state_dict())) == (before, keys)
        assert torch.equal(draw(ours), mine)


def test_a_lora_in_fused_projections_is_refused_until_they_are_not(tmp_path):
    unet = tiny_unet()
    save_file(files.face_id(cross_attention_layers(unet), WIDE, lora=4), tmp_path / "f.safetensors")
    _, ours = pair(unet)
    ours.load_emoji_adapter(tmp_path / "f.safetensors")
    wanted = draw(ours, identity_embeds=tiny.identities(1))
    unet.fuse_qkv_projections()
    with pytest.raises(AdapterMismatchError, match="unfuse_qkv_projections"):
        draw(ours, identity_embeds=tiny.identities(1))
    unet.unfuse_qkv_projections()
    assert torch.equal(draw(ours, identity_embeds=tiny.identities(1)), wanted)


def test_a_lora_survives_the_file_and_the_pipeline_folder(tmp_path):
    unet = tiny_unet()
    torch.manual_seed(0)
    save_file(files.face_id(cross_attention_layers(unet), WIDE, lora=4), tmp_path / "f.safetensors")
    _, ours = pair(unet)
    ours.load_emoji_adapter(tmp_path / "f.safetensors")
    person = {"identity_embeds": tiny.identities(1)}
    wanted = draw(ours, **person)
    ours.save_pretrained(tmp_path / "pipe")
    torch.testing.assert_close(draw(ours, **person), wanted)
    again = EmojiDiffSDPipeline.from_pretrained(tmp_path / "pipe")
    again.set_progress_bar_config(disable=True)
    torch.testing.assert_close(draw(again, **person), wanted)


def test_an_exported_file_draws_what_ours_draws_and_comfy_tells_it(tmp_path):
    unet = tiny_unet()
    for tokens, known in ((4, True), (8, True), (3, False)):
        adapter = tiny.adapter(unet, identity_tokens=tokens, kv_rank=4, identity_layers="mid_block",
                               identity_negative="zeros", expression_negative="zeros")  # fmt: skip
        stock, ours = pair(copy.deepcopy(unet))
        ours.load_emoji_adapter(adapter)
        ours.set_emoji_adapter_scale(identity=0.7, expression=0.7)
        person, features = tiny.identities(1), tiny.expressions(1)
        got = draw(ours, identity_embeds=person, expression_embeds=features)
        written = save_ip_adapters(adapter, tmp_path, unet=unet)
        assert [file.name for file in written] == ["identity.safetensors", "expression.safetensors"]
        stock.load_ip_adapter(str(tmp_path), "", [file.name for file in written], image_encoder_folder=None)
        stock.set_ip_adapter_scale([0.7, 0.7])
        embeds = [zeros_first(person[:, None]), zeros_first(features[:, None])]
        torch.testing.assert_close(draw(stock, ip_adapter_image_embeds=embeds), got, atol=1e-4, rtol=1e-3)
        assert as_comfy_reads(load_file(written[0])) == known


def as_comfy_reads(weights):
    """Whether ComfyUI's IPAdapter nodes would load a FaceID file: their rules, as in reference/peers."""
    parts = files.groups(weights)
    projection, attention = parts["image_proj"], parts["ip_adapter"]
    marked = MARKER in attention
    portrait = "proj.2.weight" in projection and "proj.3.weight" not in projection and not marked
    cross = attention["1.to_k_ip.weight"].shape[1]
    tokens = 16 if portrait else 4
    wanted = {
        "proj.0.weight": (1024, 512), "proj.0.bias": (1024,), "proj.2.weight": (cross * tokens, 1024),
        "proj.2.bias": (cross * tokens,), "norm.weight": (cross,), "norm.bias": (cross,),
    }  # fmt: skip
    return {name: tuple(value.shape) for name, value in projection.items()} == wanted


def test_what_cannot_be_converted_is_refused_in_words(tmp_path):
    layers = layers_of(BLOCKS["sd15", 768])
    good = files.face_id(layers, 768, made=cheap)
    plus = IPAdapterFile(files.face_id_plus(layers, 768, made=cheap), "p")
    for weights, message in (
        ({k: v for k, v in good.items() if "31.to_v_ip" not in k}, "missing .ip_adapter.31.to_v_ip.weight"),
        (good | {"ip_adapter.99.x": cheap(1)}, "unknown weights .ip_adapter.99.x"),
        (good | {"image_proj.latents": cheap(1)}, "kind that cannot become a branch"),
        (good | {"ip_adapter.3.to_k_ip.weight": cheap(321, 768)}, "321, 768. instead of .320, 768"),
    ):
        with pytest.raises(AdapterFormatError, match=message):
            from_ip_adapters(identity=IPAdapterFile(weights, "f"))
    with pytest.raises(InputError, match=r"same keys\. Say which"):
        from_ip_adapters(identity=plus)
    for name in ("/a/ip-adapter-faceid-portrait_sdxl_unnorm.safetensors", "Portrait-Unnorm.safetensors"):
        with pytest.raises(AdapterFormatError, match="embeddings that are not normalised"):
            from_ip_adapters(identity=IPAdapterFile(good, name))
    assert from_ip_adapters(identity=IPAdapterFile(good, "/unnorm/faceid.safetensors"))
    with pytest.raises(InputError, match="Leave it out"):
        from_ip_adapters(identity=IPAdapterFile(good), shortcut=True)
    with pytest.raises(AdapterFormatError, match="cannot become an expression branch"):
        from_ip_adapters(expression=plus)
    with pytest.raises(AdapterMismatchError, match=r"is for SD1\.5 .* the U-Net is another"):
        from_ip_adapters(identity=IPAdapterFile(good), unet=tiny.unet())
    sdxl = IPAdapterFile(files.face_id(layers_of(BLOCKS["sdxl", 2048]), 2048, dim=55, made=cheap), "x")
    with pytest.raises(AdapterMismatchError, match="x is for SDXL"):
        from_ip_adapters(identity=IPAdapterFile(good), expression=sdxl)
    (tmp_path / "faceid.bin").write_bytes(b"")
    with pytest.raises(AdapterFormatError, match=r"is a pickle.*weights_only=True.*faceid\.safetensors"):
        open_adapter({"identity": tmp_path / "faceid.bin"})
    with pytest.raises(InputError, match="no branch 'face'"):
        open_adapter({"face": tmp_path / "faceid.bin"})
