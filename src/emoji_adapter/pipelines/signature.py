"""Showing the arguments of a stock pipeline beside ours."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def own_arguments(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function."""
    parameters = inspect.signature(call).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def with_stock_arguments(stock: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """A method that does what ours does and shows the stock parameters and, keyword-only, ours.

    `help`, editors and `inspect.signature` see them, and so does diffusers, which reads from names, defaults
    and annotations of `__init__` which components a pipeline has.

    Args:
        stock: a method of the stock pipeline.
        ours: a method of the mixin, whose keyword-only parameters are added.
    """

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    signature = inspect.signature(stock)
    parameters = list(signature.parameters.values())
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    rest = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    added = own_arguments(ours)
    method.__name__ = ours.__name__
    method.__signature__ = signature.replace(parameters=[*named, *added, *rest])
    method.__annotations__ = {**get_type_hints(stock), **{p.name: p.annotation for p in added}}
    method.__doc__ = (
        f"{inspect.getdoc(ours)}\n\nAll other arguments are those of the stock pipeline:\n\n{stock.__doc__}"
    )
    return method
