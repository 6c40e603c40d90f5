"""Tokenizer, text encoder and expression encoder: a small CLIP.

The expression encoder must be as entangled as the real CLIP, so it never sees the renderer's parameters:
it learns by contrast with captions (Radford et al. 2021, CLIP), by naming their words (Huang et al. 2024,
"Classification Done Right for Vision-Language Pre-Training", arXiv 2411.03313) and by guessing masked pixels
(He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners").
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.captions import PHRASES, captions, vocabulary_text
from emoji_adapter.microworld.fit import Loss, Workshop, fit
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.renderer.parameters import FaceParameters, sample

WIDTH, SIDE, PATCH = 128, 112, 14
MEAN, STD = 0.5, 0.25
NAMED_BY = 4
"""Fields along each side of a crop that words are named from."""
DESCRIBE = 0.9
"""How often captions for the towers and the base model describe the person and the parts of the face."""


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer whose merges know the words of the captions; other words fall apart into letters."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=900, end_of_word_suffix="</w>", min_frequency=1, show_progress=False
    )
    words = sorted({w.strip(",") for text in vocabulary_text() for w in text.split()})
    learner.train_from_iterator(words * 2, trainer)
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = alphabet + [c + "</w>" for c in alphabet] + ["".join(m) for m in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, model_max_length=77)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids, (texts, 77)."""
    return tokenizer(
        texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    ).input_ids


class Clip(nn.Module):
    """Text tower, vision tower, and heads that only naming and masked reconstruction need."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4,
                num_attention_heads=4, projection_dim=WIDTH, max_position_embeddings=77, dtype="float32",
                bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1,
            )
        )  # fmt: skip
        self.vision = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                image_size=SIDE, patch_size=PATCH, hidden_size=WIDTH, intermediate_size=4 * WIDTH,
                num_hidden_layers=6,
                num_attention_heads=4, projection_dim=WIDTH, dtype="float32",
            )
        )  # fmt: skip
        self.scale = nn.Parameter(torch.tensor(2.66))
        self.mask_token = nn.Parameter(torch.zeros(WIDTH))
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 3 * PATCH**2))
        self.namer = nn.Linear(NAMED_BY**2 * WIDTH, vocabulary + len(PHRASES))

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Picture embeddings, and the layer that adapters read, averaged over each field of `NAMED_BY`.

        Words are named from these, so that patches hold them where they are seen (our choice, see ADR 17).
        """
        seen = self.vision(pixel_values=pixels, output_hidden_states=True)
        side = SIDE // PATCH
        patches = seen.hidden_states[-2][:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        return seen.image_embeds, F.adaptive_avg_pool2d(patches, NAMED_BY).flatten(1)

    def contrast(self, embeds: Tensor, tokens: Tensor) -> Tensor:
        """Symmetric cross-entropy between pictures and captions; equal captions count as equal."""
        image = F.normalize(embeds, dim=-1)
        unique, which = torch.unique(tokens, dim=0, return_inverse=True)
        unique = unique[
            :, : int((unique != self.text.config.eos_token_id).sum(1).max()) + 1
        ]  # padding adds nothing
        text = F.normalize(self.text(input_ids=unique).text_embeds, dim=-1)
        logits = self.scale.exp().clamp_max(60) * image @ text.T
        to_text = F.cross_entropy(logits, which)
        target = F.one_hot(which, len(unique)).float()
        to_image = -((target / target.sum(0)) * logits.log_softmax(0)).sum(0).mean()
        return 0.5 * (to_text + to_image)

    def name(self, features: Tensor, present: Tensor) -> Tensor:
        """Cross-entropy of each word's and phrase's presence in the caption, summed over them."""
        logits = self.namer(features).float()
        return F.binary_cross_entropy_with_logits(logits, present, reduction="none").sum(-1).mean()

    def reconstruct(
        self, pixels: Tensor, generator: torch.Generator, share: float = 0.5, seen: float = 0.25
    ) -> Tensor:
        """Guess the pixels of hidden patches from the others; `seen` is the weight of the other patches."""
        tower = self.vision.vision_model
        hidden = tower.embeddings(pixels)
        covered = (
            torch.rand(hidden.shape[0], hidden.shape[1] - 1, 1, generator=generator, device=pixels.device)
            < share
        )
        place = tower.embeddings.position_embedding.weight[None, 1:]
        patches = torch.where(covered, self.mask_token + place, hidden[:, 1:])
        hidden = tower.pre_layrnorm(torch.cat([hidden[:, :1], patches], dim=1))
        guess = self.decoder(tower.encoder(inputs_embeds=hidden).last_hidden_state[:, 1:])
        truth = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)
        error = F.smooth_l1_loss(guess.float(), truth, beta=0.3, reduction="none").mean(-1, keepdim=True)
        weight = torch.where(covered, 1.0, seen)
        return (error * weight).sum() / weight.sum()


def lesson(model: Clip, shop: Workshop, tokenizer: CLIPTokenizer) -> Loss:
    """Contrast with captions, naming, and masked reconstruction, on pictures and faces drawn afresh."""
    crop = ExpressionCrop()

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        parameters = sample(batch, generator)
        rendered = shop.render(parameters)
        texts = _captions(parameters, generator)
        tokens = tokenize(tokenizer, texts).to(shop.device)
        present = _present(tokens, _phrases(texts).to(shop.device), len(tokenizer))
        few = batch // 4
        whole = F.interpolate(rendered.image[:few], SIDE, mode="bilinear", antialias=True)
        faces = crop_batch(rendered.image, jitter(rendered.landmarks, generator), crop)
        tint = 1 + 0.1 * torch.randn(batch, 3, 1, 1, generator=generator, device=shop.device)
        pixels = ((torch.cat([whole, faces[few:]]) * tint).clamp(0, 1) - MEAN) / STD
        masked = (faces - MEAN) / STD
        embeds, features = model.look(pixels)
        return (
            model.contrast(embeds, tokens)
            + 0.4 * model.name(features[few:], present[few:])
            + 4.0 * model.reconstruct(masked, generator)
        )

    return loss


def build_text(shop: Workshop) -> None:
    """Train the text tower until each state at and after the end of a caption names all that it says.

    Of the 77 states that cross-attention looks at, some fifty lie there; what they do not say, a small U-Net
    does not learn to draw (our finding: beside a text tower trained by contrast it drew styles and
    backgrounds, which those states said, and no hats).
    """
    tokenizer = make_tokenizer()
    model = _Speller(Clip(len(tokenizer)), len(tokenizer))
    if shop.warm:
        warm_text(model.clip, shop.warm)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        texts = _captions(sample(batch, generator), generator)
        return model(tokenize(tokenizer, texts).to(shop.device), _phrases(texts).to(shop.device))

    _save_text(fit(shop, "text", model, loss).clip, tokenizer, shop.out)


def _captions(parameters: FaceParameters, generator: torch.Generator) -> list[str]:
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    return captions(parameters.to("cpu"), seed, describe=DESCRIBE)


def _phrases(texts: list[str]) -> Tensor:
    """Which of `PHRASES` each caption holds, (texts, phrases)."""
    return torch.tensor([[float(p in parts) for p in PHRASES] for parts in (t.split(", ") for t in texts)])


def _present(tokens: Tensor, phrases: Tensor, vocabulary: int) -> Tensor:
    """Which words and phrases captions hold, (captions, vocabulary + phrases)."""
    words = torch.zeros(len(tokens), vocabulary, device=tokens.device)
    return torch.cat([words.scatter_(1, tokens, 1.0), phrases], dim=1)


class _Speller(nn.Module):
    """A text tower and a linear reading of words and phrases of a caption from each state after its end."""

    def __init__(self, clip: Clip, vocabulary: int):
        super().__init__()
        self.clip = clip.requires_grad_(False)
        self.clip.text.text_model.requires_grad_(True)
        self.read = nn.Linear(WIDTH, vocabulary + len(PHRASES))

    def forward(self, tokens: Tensor, phrases: Tensor) -> Tensor:
        """Cross-entropy of each word's and phrase's presence, over the states from the end on."""
        states = self.clip.text.text_model(input_ids=tokens).last_hidden_state
        after = (tokens == self.clip.text.config.eos_token_id).float()
        present = _present(tokens, phrases, self.read.out_features - len(PHRASES))
        logits = self.read(states).float()
        entropy = F.binary_cross_entropy_with_logits(
            logits, present[:, None].expand_as(logits), reduction="none"
        ).sum(-1)
        return (entropy * after).sum() / after.sum()


def build_vision(shop: Workshop) -> None:
    """Train the vision tower beside the finished text encoder, which is locked (Zhai et al. 2022, LiT)."""
    tokenizer = make_tokenizer()
    model = Clip(len(tokenizer))
    warm_text(model, shop.out)
    model.text.text_model.requires_grad_(False)
    if shop.warm:
        warm_vision(model, shop.warm)
    save_vision(fit(shop, "vision", model, lesson(model, shop, tokenizer)), shop.out)


def warm_text(model: Clip, weights: Path) -> None:
    """Start from a finished text encoder; its projection is not kept in checkpoints and stays fresh."""
    inner = CLIPTextModel.from_pretrained(weights / "checkpoint" / "text_encoder", dtype=torch.float32)
    wanted = {"text_model." + k: v for k, v in inner.state_dict().items()}
    model.text.load_state_dict(wanted | {"text_projection.weight": model.text.text_projection.weight})


def warm_vision(model: Clip, weights: Path) -> None:
    """Start from a finished expression encoder."""
    model.vision = CLIPVisionModelWithProjection.from_pretrained(
        weights / "expression_encoder", dtype=torch.float32
    )


def _save_text(model: Clip, tokenizer: CLIPTokenizer, out: Path) -> None:
    text = CLIPTextModel(model.text.config)
    text.load_state_dict(
        {
            k.removeprefix("text_model."): v
            for k, v in model.text.state_dict().items()
            if k.startswith("text_model.")
        }
    )
    save_half(text, out / "checkpoint" / "text_encoder")
    tokenizer.save_pretrained(out / "checkpoint" / "tokenizer")


def save_vision(model: Clip, out: Path) -> None:
    """Write the expression encoder with the preprocessing of its pixels."""
    save_half(model.vision, out / "expression_encoder")
    settings = {
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        "size": {"shortest_edge": SIDE},
        "crop_size": SIDE,
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": False,
        "resample": 3,
    }
    (out / "expression_encoder" / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))


def save_half(model: nn.Module, folder: Path) -> None:
    """Save in half precision; the config goes on saying float32, so that loaders widen it again."""
    model = model.cpu().half()
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    if "dtype" in config:
        config["dtype"] = "float32"
        (folder / "config.json").write_text(json.dumps(config, indent=2))
    model.float()
