"""What a selected cross-attention layer does beside looking at the text."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, scaled_dot_product_attention

from emoji_adapter.errors import InputError

CARRIER = "ip_hidden_states"
"""Name under which the keys and values travel in `cross_attention_kwargs`. Stock `Attention` layers accept
it in silence (`quiet_attn_parameters` in diffusers' `Attention.forward`)."""


class LayerKV(NamedTuple):
    """Keys and values of one layer, `[rows, tokens, layer width]`, the scale already in the values.

    A branch that is absent is None in both its fields. The rows of the branches may differ: those of a branch
    are as many as there are pictures, or twice as many (its negative rows see something too).

    Of a compound identity they are `[rows, 2, tokens, layer width]`: each half is looked at by itself, and
    the term is the mean of both.

    With several people in a picture the tokens of all of them stand one after the other in a row, and `masks`
    `[rows, people, height, width]`, numbers in [0, 1] at the size of the latents, says where each acts.
    """

    k_identity: Tensor | None
    v_identity: Tensor | None
    k_expression: Tensor | None
    v_expression: Tensor | None
    masks: Tensor | None = None


class DualAttnProcessor:
    """Adds the identity and the expression term to whatever a stock processor does; holds no weights.

    `out = to_out(stock + Attn(Q, K_id, V_id) + Attn(Q, K_exp, V_exp))`, Q being the stock query.

    The stock processor is run as it is (plain, sliced, fused, ...) on a stand-in of the `Attention` that
    remembers the query and adds the terms in front of the output projection. No attention code is copied,
    and without keys and values, or with V = 0, the result is the stock one bit for bit.

    The terms act on the *last* rows of the batch: under classifier-free guidance the rows are [negative;
    positive], and keys and values are given for the positive ones alone, so the negative rows cost nothing.
    When there are more rows of keys and values than of hidden states (guidance given up in mid-call), the
    last ones are used.

    Where there are masks, each person's terms are weighed, position by position, by that person's mask at the
    resolution of the layer, as in diffusers' `IPAdapterMaskProcessor`; area averaging is our choice (there:
    bicubic).

    Args:
        layer: name of the layer, the key to its `LayerKV`.
        inner: the stock processor.
    """

    def __init__(self, layer: str, inner: Any):
        self.layer = layer
        self.inner = inner

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: Mapping[str, LayerKV] | None = None,
    ) -> Tensor:
        """The stock call with one keyword more; see `EmojiAdapter.forward` for what it holds."""
        kv = None if ip_hidden_states is None else ip_hidden_states.get(self.layer)
        target = attn if kv is None else _WithTerms(attn, kv)
        return self.inner(target, hidden_states, encoder_hidden_states, attention_mask)


class _WithTerms:
    """An `Attention` whose output projection first adds the terms of both branches."""

    def __init__(self, attn: Any, kv: LayerKV):
        self._attn = attn
        terms = _Terms(attn, kv)
        self.to_q = terms.to_q
        self.to_out = (terms.to_out, attn.to_out[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attn, name)


class _Terms:
    """What `_WithTerms` changes; apart, so that it does not refer to itself.

    If it did, what a pass keeps for its gradients would wait for Python's cycle collector.
    """

    def __init__(self, attn: Any, kv: LayerKV):
        self._attn = attn
        self._kv = kv

    def to_q(self, hidden_states: Tensor) -> Tensor:
        self._query = self._attn.to_q(hidden_states)
        return self._query

    def to_out(self, hidden_states: Tensor) -> Tensor:
        kv, heads = self._kv, self._attn.heads
        places = None if kv.masks is None else _at_positions(kv.masks, self._query.shape[1])
        terms = [
            _attend(self._query, key, value, heads, places)
            for key, value in ((kv.k_identity, kv.v_identity), (kv.k_expression, kv.v_expression))
            if key is not None and value is not None
        ]
        if len(terms) == 2 and len(terms[0]) == len(terms[1]):
            terms = [terms[0] + terms[1]]
        for term in terms:
            hidden_states = _add_to_last_rows(hidden_states, term.transpose(1, 2).flatten(2))
        return self._attn.to_out[0](hidden_states)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, places: Tensor | None = None) -> Tensor:
    """`softmax(Q K^T / sqrt(d)) V` of the last rows, `[rows, heads, positions, width of a head]`.

    With `places` `[rows, people, positions]` it is the sum over people, each weighed by its place. Of a
    compound embedding it is the mean of both halves: in one softmax that of longer keys would take all.
    """
    if key.ndim == 4:
        halves = zip(key.unbind(1), value.unbind(1), strict=True)
        return torch.stack([_attend(query, k, v, heads, places) for k, v in halves]).mean(0)
    rows = min(len(query), len(key))
    if len(query) not in (rows, 2 * rows) or len(key) not in (rows, 2 * rows):
        raise InputError(
            f"The U-Net works on {len(query)} rows, but keys and values are given for {len(key)}: expected "
            "as many or half as many (guidance). Give one identity and one expression for each picture."
        )
    query = _last_heads(query, rows, heads)
    key, value = (_last_heads(x, rows, heads).to(query.dtype) for x in (key, value))
    if places is None:
        return scaled_dot_product_attention(query, key, value)
    weights = places[-rows:, :, None, :, None].to(query.dtype).unbind(1)
    people = zip(weights, key.chunk(len(weights), 2), value.chunk(len(weights), 2), strict=True)
    terms = [weight * scaled_dot_product_attention(query, k, v) for weight, k, v in people]
    return torch.stack(terms).sum(0)


def _at_positions(masks: Tensor, positions: int) -> Tensor:
    """Masks `[rows, people, height, width]` as `[rows, people, positions]`, at the resolution of a layer.

    Every stage of the U-Net halves both sides, rounding up.
    """
    height, width = masks.shape[-2:]
    while height * width > positions:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != positions:
        raise InputError(
            f"A layer with {positions} positions has no resolution of the masks, which measure "
            f"{masks.shape[-1]}x{masks.shape[-2]}. Give masks of the size of the picture."
        )
    return adaptive_avg_pool2d(masks, (height, width)).flatten(2)


def _last_heads(x: Tensor, rows: int, heads: int) -> Tensor:
    """The last rows of `[batch, tokens, width]` as `[rows, heads, tokens, width of a head]`."""
    _, tokens, width = x.shape
    return x[-rows:].view(rows, tokens, heads, width // heads).transpose(1, 2)


def _add_to_last_rows(hidden_states: Tensor, term: Tensor) -> Tensor:
    """Adds to what a stock processor has just made, which nobody else holds: in place but for gradients."""
    untouched = len(hidden_states) - len(term)
    if not torch.is_grad_enabled():
        hidden_states[untouched:].add_(term)
        return hidden_states
    if untouched == 0:
        return hidden_states + term
    return torch.cat([hidden_states[:untouched], hidden_states[untouched:] + term])
