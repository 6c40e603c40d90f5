"""The stages by name."""

from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.stages import ExpressionStage, IdentityStage, Stage
from emoji_adapter.training.stock import StockExpressionStage, StockIdentityStage

STAGES = {
    "identity": IdentityStage,
    "expression": ExpressionStage,
    "stock_identity": StockIdentityStage,
    "stock_expression": StockExpressionStage,
}


def make_stage(config: TrainingConfig) -> Stage:
    """Build the stage that a configuration names."""
    return STAGES[config.stage](config)
