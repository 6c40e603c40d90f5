"""What a selected cross-attention layer does beside looking at the text."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from emoji_adapter.errors import InputError

CARRIER = "ip_hidden_states"
"""Name under which the keys and values travel in `cross_attention_kwargs`. Stock `Attention` layers accept
it in silence (`quiet_attn_parameters` in diffusers' `Attention.forward`)."""


class LayerKV(NamedTuple):
    """Keys and values of one layer, `[rows, tokens, layer width]`, the scale already in the values.

    A branch that is absent is None in both its fields.
    """

    k_identity: Tensor | None
    v_identity: Tensor | None
    k_expression: Tensor | None
    v_expression: Tensor | None


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
        self._kv = kv
        self.to_out = (self._project, attn.to_out[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attn, name)

    def to_q(self, hidden_states: Tensor) -> Tensor:
        self._query = self._attn.to_q(hidden_states)
        return self._query

    def _project(self, hidden_states: Tensor) -> Tensor:
        terms = [
            _attend(self._query, key, value, self._attn.heads)
            for key, value in (self._kv[:2], self._kv[2:])
            if key is not None and value is not None
        ]
        if terms:
            term = terms[0] if len(terms) == 1 else terms[0] + terms[1]
            hidden_states = _add_to_last_rows(hidden_states, term.transpose(1, 2).flatten(2))
        return self._attn.to_out[0](hidden_states)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """`softmax(Q K^T / sqrt(d)) V` of the last rows, `[rows, heads, positions, width of a head]`."""
    rows = min(len(query), len(key))
    if len(query) not in (rows, 2 * rows) or len(key) not in (rows, 2 * rows):
        raise InputError(
            f"The U-Net works on {len(query)} rows, but keys and values are given for {len(key)}: expected "
            "as many or half as many (guidance). Give one identity and one expression for each picture."
        )
    return scaled_dot_product_attention(
        _last_heads(query, rows, heads),
        _last_heads(key, rows, heads).to(query.dtype),
        _last_heads(value, rows, heads).to(query.dtype),
    )


def _last_heads(x: Tensor, rows: int, heads: int) -> Tensor:
    """The last rows of `[batch, tokens, width]` as `[rows, heads, tokens, width of a head]`."""
    _, tokens, width = x.shape
    return x[-rows:].view(rows, tokens, heads, width // heads).transpose(1, 2)


def _add_to_last_rows(hidden_states: Tensor, term: Tensor) -> Tensor:
    untouched = len(hidden_states) - len(term)
    if untouched == 0:
        return hidden_states + term
    return torch.cat([hidden_states[:untouched], hidden_states[untouched:] + term])
