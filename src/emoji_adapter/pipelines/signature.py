"""Showing the arguments of a stock pipeline beside ours."""

import inspect
from collections.abc import Callable
from typing import Any


def own_arguments(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function."""
    parameters = inspect.signature(call).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def with_stock_arguments(stock: Callable[..., Any], ours: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorator: `help`, editors and `inspect.signature` see the stock parameters and, keyword-only, ours.

    Args:
        stock: `__call__` of the stock pipeline.
        ours: `__call__` whose keyword-only parameters are added.
    """

    def decorate(call: Any) -> Any:
        signature = inspect.signature(stock)
        parameters = list(signature.parameters.values())
        named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        rest = [p for p in parameters if p.kind is p.VAR_KEYWORD]
        call.__signature__ = signature.replace(parameters=[*named, *own_arguments(ours), *rest])
        rest_of_it = f"All other arguments are those of the stock pipeline:\n\n{stock.__doc__}"
        call.__doc__ = f"{inspect.getdoc(ours)}\n\n{rest_of_it}"
        return call

    return decorate
