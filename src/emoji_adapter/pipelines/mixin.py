"""What a stock diffusers pipeline needs to draw a given person with a given expression."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.checkpoints.format import check_fits
from emoji_adapter.checkpoints.opening import AdapterName, open_adapter
from emoji_adapter.errors import InputError
from emoji_adapter.faces.analysis import FacePolicy
from emoji_adapter.faces.images import ImageSource
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import CARRIER, LayerKV
from emoji_adapter.models.identity_lora import lora_acting
from emoji_adapter.pipelines.arguments import LayerScale, by_name, check_scale, number_of_prompts
from emoji_adapter.pipelines.attaching import exchange, unhooked
from emoji_adapter.pipelines.clip_skip import explained_clip_skip
from emoji_adapter.pipelines.compiling import room_for_blocks
from emoji_adapter.pipelines.conditions import Conditions, identity_acts, keys_and_values
from emoji_adapter.pipelines.expression_guidance import guided_expression
from emoji_adapter.pipelines.faces import FaceEncoders
from emoji_adapter.pipelines.gathering import gather
from emoji_adapter.pipelines.pairing import people_of
from emoji_adapter.pipelines.people import gather_people
from emoji_adapter.pipelines.placement import COMPONENT, OffloadMixin, at_work
from emoji_adapter.pipelines.regions import RegionsMixin
from emoji_adapter.pipelines.signature import own_arguments, with_stock_arguments
from emoji_adapter.pipelines.window import ControlWindow

_Stock: Any = object
"""What the mixin stands in front of: the stock pipeline, which only the concrete class names."""


class EmojiAdapterMixin(OffloadMixin, RegionsMixin, _Stock):
    """Turns faces into keys and values, then calls the stock pipeline that follows it among the bases.

    The stock class must have a `unet`. A concrete class needs no body: when it names its family, it gets the
    stock class's arguments and `emoji_adapter` as a further, optional component.

    Args:
        emoji_adapter: an adapter to start with; usually `load_emoji_adapter` is called instead.
    """

    emoji_adapter: EmojiAdapter | None
    _emoji_scales: Mapping[str, LayerScale] = {"identity": 1.0, "expression": 1.0}
    _face_encoders: FaceEncoders | None = None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "family" in kwargs:
            stock = cls.__bases__[-1]
            cls._optional_components = [*stock._optional_components, COMPONENT]
            cls._exclude_from_cpu_offload = [*stock._exclude_from_cpu_offload, COMPONENT]
            cls.__init__ = with_stock_arguments(stock.__init__, EmojiAdapterMixin.__init__)
            cls.__call__ = with_stock_arguments(stock.__call__, EmojiAdapterMixin.__call__)

    def __init__(self, *args: Any, emoji_adapter: EmojiAdapter | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register_modules(emoji_adapter=emoji_adapter)
        if emoji_adapter is not None:
            check_fits(emoji_adapter.config, self.unet)
            self._attach(emoji_adapter)

    def load_emoji_adapter(
        self, pretrained_model_name_or_path: AdapterName | EmojiAdapter = "micro", **kwargs: Any
    ) -> None:
        """Loads an adapter and attaches it; an earlier one is replaced.

        Args:
            pretrained_model_name_or_path: "micro" (embedded), a folder, a `.safetensors` file, a Hub id, or
                an `EmojiAdapter`, which is then shared; or IP-Adapter files: see `open_adapter`.
            **kwargs: as of `load_ip_adapter`: subfolder, weight_name, revision, token, cache_dir,
                local_files_only, force_download; shortcut for FaceID-Plus files.

        Raises:
            WeightsNotFoundError, HubError: nothing is there, or the Hub refuses.
            AdapterFormatError: not an adapter, damaged, or of a later format.
            AdapterMismatchError: it was made for another kind of U-Net, or another extension sits in its
                layers. The pipeline is then as it was.
        """
        name = pretrained_model_name_or_path
        adapter = name if isinstance(name, EmojiAdapter) else open_adapter(name, unet=self.unet, **kwargs)
        check_fits(adapter.config, self.unet)
        exchange(self.unet, self.emoji_adapter, adapter)
        self.register_modules(emoji_adapter=adapter)
        self._emoji_scales = EmojiAdapterMixin._emoji_scales
        self._face_encoders = None

    def unload_emoji_adapter(self) -> None:
        """Removes the adapter; the pipeline is then exactly the stock one again."""
        exchange(self.unet, self.emoji_adapter, None)
        self.register_modules(emoji_adapter=None)
        self._emoji_scales = EmojiAdapterMixin._emoji_scales
        self._face_encoders = None

    def set_emoji_adapter_scale(
        self, identity: LayerScale | None = None, expression: LayerScale | None = None
    ) -> None:
        """Sets how strongly each branch acts; 0 for both gives the plain pipeline's pictures, bit for bit.

        Args:
            identity: 0 (off) to 1 (as trained) or above; or layer pattern -> number, e.g. `{"up_blocks":
                0.8}`, where layers that no pattern means get 0. None leaves it as it is.
            expression: likewise.

        Raises:
            InputError: no adapter is loaded, a number is negative or not finite, or a pattern means no layer.
        """
        adapter = self._require_adapter()
        given = {"identity": identity, "expression": expression}
        for branch, scale in given.items():
            if scale is not None:
                check_scale(branch, scale, adapter.config[f"{branch}_layers"] or [])
        self._emoji_scales = {
            b: self._emoji_scales[b] if scale is None else scale for b, scale in given.items()
        }

    @property
    def face_encoders(self) -> FaceEncoders:
        """Face pack and expression encoder of the adapter; may be set, to share them between pipelines."""
        if self._face_encoders is None:
            self._face_encoders = FaceEncoders(self._require_adapter().config)
        return self._face_encoders

    @face_encoders.setter
    def face_encoders(self, encoders: FaceEncoders) -> None:
        self._face_encoders = encoders

    def encode_identity(
        self, pictures: ImageSource | Sequence[ImageSource], face_policy: FacePolicy = "largest"
    ) -> Tensor:
        """Embedding `[512]` of one person, to pass as `identity_embeds`; of two recognisers `[1024]`.

        Args:
            pictures: one or several pictures of that person.
            face_policy: which of several faces: "largest", an index from the largest, or "raise".
        """
        (pictures,) = people_of(pictures, prompts=1)
        return self.face_encoders.identity(pictures, face_policy)

    def encode_expression(self, picture: ImageSource, face_policy: FacePolicy = "largest") -> Tensor:
        """Patch features `[patches, dim]` of an expression picture, to pass as `expression_embeds`."""
        return self.face_encoders.expression(picture, face_policy, self._execution_device)

    def encode_identity_features(self, picture: ImageSource, face_policy: FacePolicy = "largest") -> Tensor:
        """CLIP features `[2, patches, dim]` of an empty picture and of a face, for `identity_features`."""
        return self.face_encoders.identity_features(picture, face_policy, self._execution_device)

    def __call__(
        self,
        *args: Any,
        identity_image: Any = None,
        expression: Any = None,
        identity_embeds: Any = None,
        identity_features: Any = None,
        expression_embeds: Any = None,
        people: Any = None,
        control_start: float = 0.0,
        control_end: float = 1.0,
        expression_guidance_scale: float | None = None,
        face_policy: FacePolicy = "largest",
        **kwargs: Any,
    ) -> Any:
        """Draws pictures of a prompt with the face of a person and an expression; each may be left out.

        Args:
            *args: of the stock pipeline.
            identity_image: who: a picture (path, PIL, array); with one prompt a list of pictures of one
                person; with several prompts a list with one picture, or one list of pictures, for each.
            expression: what the face does: a picture, or a list with one for each prompt.
            identity_embeds: instead of `identity_image`: `[512]`, `[1, 512]` or `[prompts, 512]`, from
                `encode_identity`; 1024 numbers for adapters with a second recogniser.
            identity_features: beside `identity_embeds`, for adapters that read CLIP features of the face
                (FaceID-Plus): `[2, patches, dim]` or `[prompts, 2, patches, dim]`, from
                `encode_identity_features`.
            expression_embeds: instead of `expression`: patch features `[patches, dim]` or `[prompts,
                patches, dim]`, from `encode_expression`; or a code `[52]` or `[prompts, 52]`: blendshapes
                (Arc2Face: 55 numbers of FLAME).
            people: instead of all these, several people in one picture: a list of `Person`, each with a mask;
                or one list, equally long, for each prompt. `face_masks` makes masks from a first pass.
            control_start: share of the steps that pass before both act.
            control_end: share of the steps after which they stop.
            expression_guidance_scale: guidance of the expression alone, see `guided_expression`; None: by
                `guidance_scale`, together with text and identity. It needs an expression.
            face_policy: which of several faces: "largest", an index from the largest, or "raise".
            **kwargs: of the stock pipeline.

        Raises:
            InputError: arguments that contradict each other, or lists of unequal length.
            FaceError: no face, several (policy "raise"), or one too small.
        """
        ours = [parameter.name for parameter in own_arguments(EmojiAdapterMixin.__call__)]
        arguments = by_name(super().__call__, ours, args, kwargs)
        window = ControlWindow(control_start, control_end)
        faces = {
            "identity_image": identity_image,
            "expression": expression,
            "identity_embeds": identity_embeds,
            "identity_features": identity_features,
            "expression_embeds": expression_embeds,
        }
        given = self._conditions(faces, people, arguments, face_policy)
        if given.expression_embeds is None and expression_guidance_scale is not None:
            raise InputError("expression_guidance_scale guides an expression: give one, or leave it out.")
        if given.empty:
            with explained_clip_skip(arguments), room_for_blocks(self.unet, self.emoji_adapter):
                return super().__call__(**arguments)
        plain = arguments.get("cross_attention_kwargs")
        if plain is not None and CARRIER in plain:
            raise InputError(
                f"cross_attention_kwargs may not hold {CARRIER!r}: the emoji adapter travels there."
            )
        device = self._execution_device
        with at_work(self._require_adapter(), device, leave=self._adapter_rests):
            kv = self._keys_and_values(given)
        arguments["cross_attention_kwargs"] = {**(plain or {}), CARRIER: kv}
        window.narrow(arguments, plain)
        with (
            explained_clip_skip(arguments),
            room_for_blocks(self.unet, self.emoji_adapter),
            self._on_device(device),
            self._with_people(kv),
            self._identity_lora(given),
            guided_expression(self, expression_guidance_scale, given.rows),
        ):
            return super().__call__(**arguments)

    def _conditions(
        self, faces: Mapping[str, Any], people: Any, arguments: Mapping[str, Any], face_policy: FacePolicy
    ) -> Conditions:
        """What the call is told of faces, as embeddings."""
        count = number_of_prompts(arguments), arguments.get("num_images_per_prompt") or 1
        if people is None:
            return gather(self, faces, *count, face_policy)
        for name, value in {**faces, "padding_mask_crop": arguments.get("padding_mask_crop")}.items():
            if value is not None:
                raise InputError(f"people cannot be given together with {name}. Leave one of them out.")
        self._require_adapter()
        return gather_people(self, people, *count, face_policy)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As in the stock pipeline; the adapter's LoRA goes into its own file, not into the U-Net's."""
        lora = None if self.emoji_adapter is None else self.emoji_adapter.identity_lora
        out = contextlib.nullcontext() if lora is None else lora.taken_out_of(self.unet)
        with unhooked(self.unet, self.emoji_adapter), out:
            super().save_pretrained(*args, **kwargs)

    def load_ip_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refused while an emoji adapter is loaded: both want the cross-attention layers."""
        if self.emoji_adapter is not None:
            raise InputError(
                "load_ip_adapter replaces the processors of all cross-attention layers, some of which the "
                "emoji adapter uses. Call unload_emoji_adapter() first; one of the two can be loaded at a "
                "time."
            )
        super().load_ip_adapter(*args, **kwargs)

    def unload_ip_adapter(self) -> None:
        """As in the stock pipeline, which makes all processors anew; ours are taken out meanwhile."""
        exchange(self.unet, self.emoji_adapter, None)
        super().unload_ip_adapter()
        exchange(self.unet, None, self.emoji_adapter)

    def _attach(self, adapter: EmojiAdapter) -> None:
        """Attaches unless that is done; slicing, fusing or another pipeline's unload may have undone it."""
        if not adapter.is_attached(self.unet):
            exchange(self.unet, adapter, adapter)

    def _keys_and_values(self, given: Conditions) -> dict[str, LayerKV]:
        adapter = self._require_adapter()
        if adapter.dtype != self.unet.dtype:
            exchange(self.unet, adapter, None)  # hooks of offloading may hold weights of its LoRA
            torch.nn.Module.to(adapter, self.unet.dtype)
        self._attach(adapter)
        return keys_and_values(adapter, self._emoji_scales, given)

    def _identity_lora(self, given: Conditions) -> contextlib.AbstractContextManager[None]:
        """The adapter's LoRA acts in calls with an identity whose scale is not 0."""
        acts = given.identity_embeds is not None and identity_acts(self._emoji_scales["identity"])
        return lora_acting(self.unet) if acts else contextlib.nullcontext()

    def _require_adapter(self) -> EmojiAdapter:
        if self.emoji_adapter is None:
            raise InputError("No emoji adapter is loaded. Call load_emoji_adapter() first.")
        return self.emoji_adapter
