"""`push_to_hub` of the adapter: weights, configuration and a model card in one commit."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emoji_adapter.errors import InputError
from emoji_adapter.hub.card import model_card
from emoji_adapter.hub.figures import read_evaluation
from emoji_adapter.hub.licences import base_model_of
from emoji_adapter.hub.upload import open_repository, publish
from emoji_adapter.models.saving import weight_name

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_Model: Any = object
"""What follows among the bases: diffusers' `ModelMixin`, whose own `push_to_hub` writes a bare card."""


class PublishMixin(_Model):
    """Puts a model that has `save_pretrained` and an adapter's `config` on the Hub."""

    def push_to_hub(  # noqa: PLR0913 (the arguments of diffusers, and three of ours)
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
        *,
        base_model: str | None = None,
        evaluation: Mapping[str, Any] | str | Path | None = None,
        keep_card: bool = False,
    ) -> str:
        """Publish weights, configuration and a model card, in one commit: all of it or nothing.

        Args:
            repo_id: "owner/name"; made if missing.
            commit_message: of the commit.
            private: whether a new repository is private.
            token: of a user that may write; None takes the one of `hf auth login` or HF_TOKEN.
            create_pr: propose the change instead of making it.
            safe_serialization: must be true: pickles are not written.
            variant: e.g. "fp16": becomes part of the file name, as in diffusers.
            subfolder: folder of the repository to write into; the card of the repository is then left.
            base_model: Hub id of the checkpoint that the adapter was trained on; None takes the one that
                stands for its family.
            evaluation: file of `emoji-adapter evaluate --json`, or its content, for the card.
            keep_card: leave the repository's README.md as it is.

        Returns:
            Address of the commit, or of the proposal.

        Raises:
            InputError: the base model is not known, the evaluation cannot be read, or others could not load
                the encoder that the adapter names. Nothing is then asked of the Hub.
            HubError: the token is refused or the upload broke off. The repository is then as it was.
        """
        base_model = base_model_of(self.config, base_model)
        table = None if evaluation is None else read_evaluation(evaluation)
        _check_public(self.config)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "adapter"
            self.save_pretrained(folder, safe_serialization=safe_serialization, variant=variant)
            repo_id = open_repository(repo_id, token=token, private=private)
            if not (keep_card or subfolder):
                named = weight_name(variant) if variant else None
                card = model_card(self.config, repo_id, base_model, table, named)
                (folder / "README.md").write_text(str(card), encoding="utf-8")
            message = commit_message or f"Upload {type(self).__name__}"
            return publish(
                folder, repo_id, message=message, token=token, create_pr=create_pr, subfolder=subfolder
            )


def _check_public(config: Mapping[str, Any]) -> None:
    """Refuse an adapter whose expression encoder or teacher only this machine has."""
    encoder = config["expression_encoder"]
    if encoder != "micro" and (_HUB_ID.fullmatch(encoder) is None or Path(encoder).exists()):
        raise InputError(
            f"The adapter names the expression encoder {encoder!r}, a folder of this machine: others could "
            "not load it. Publish the encoder and name its Hub id first: "
            "adapter.register_to_config(expression_encoder='OWNER/NAME')."
        )
    teacher = config["expression_teacher"]
    if teacher not in (None, "micro"):
        raise InputError(
            f"The adapter names the blendshape teacher {teacher!r}, a file of this machine: others could not "
            "load it. Publish without it: adapter.register_to_config(expression_teacher=None) leaves the "
            "patch features alone."
        )
