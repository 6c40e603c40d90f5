"""The stages by name, with the networks that they alone need."""

import torch

from emoji_adapter.data.manifest import PreparedMeta
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.critics import Critics
from emoji_adapter.training.distil import DistilStage
from emoji_adapter.training.feedback import FeedbackStage
from emoji_adapter.training.ica import ICAStage
from emoji_adapter.training.stages import ExpressionStage, IdentityStage, Stage
from emoji_adapter.training.stock import StockExpressionStage, StockIdentityStage
from emoji_adapter.training.takes import TakesStage

STAGES = {
    "identity": IdentityStage,
    "expression": ExpressionStage,
    "takes": TakesStage,
    "distil": DistilStage,
    "stock_identity": StockIdentityStage,
    "stock_expression": StockExpressionStage,
}
"""Stages that need nothing but their configuration."""


def make_stage(config: TrainingConfig, meta: PreparedMeta, device: torch.device) -> Stage:
    """Build the stage that a configuration names.

    Args:
        config: of the run.
        meta: what the set was prepared with.
        device: of the networks that the stage loads.

    Raises:
        DataError: the set was prepared with another face pack or teacher than the stage would use.
        WeightsNotFoundError, WeightsFormatError: a network is missing, or has no twin in torch.
    """
    if config.stage == "ica":
        return ICAStage(config, Critics.load(config.ica, meta, device))
    if config.stage == "feedback":
        feedback, side = config.feedback, config.feedback.detector_size
        analyzer = FaceAnalyzer(
            feedback.pack,
            threads=1,
            det_thresh=feedback.detector_threshold,
            det_size=None if side is None else (side, side),
        )
        return FeedbackStage(config, Critics.load(feedback, meta, device), analyzer)
    return STAGES[config.stage](config)
