"""A memory that looks back: attention over the last steps of an episode."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from rljax.errors import UsageError
from rljax.networks.initializers import orthogonal
from rljax.networks.layers import SQRT2, dense


class GTrXL(nn.Module):
    """A block of a gated transformer, which reads a step and the `window` before it in its episode.

    Its carry [..., window x (size + 1)] is the embeddings of the last `window` steps, the latest
    one last, and then for each of them 1 if there was such a step. No gradient reaches what was
    carried.

    Source: Parisotto et al. 2020, section 3.2 (GTrXL with GRU gates),
    https://arxiv.org/abs/1910.06764. How far back a step lies counts by a bias for each head and
    distance, as in Raffel et al. 2020, section 2.1, https://arxiv.org/abs/1910.10683. Queries, keys
    and values have no biases.
    """

    size: int
    window: int = 128
    heads: int = 4

    @property
    def carry_size(self) -> int:
        """The numbers that are carried."""
        return self.window * (self.size + 1)

    @nn.compact
    def __call__(
        self, x: jax.Array, carry: jax.Array, done: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As `memory.GRU`, with a carry [B, window x (size + 1)]."""
        if done is None:
            given, carries = self(x[None], carry, jnp.zeros((1, x.shape[0]), bool))
            return given[0], carries[0]
        embedded = nn.relu(dense(self.size, SQRT2, name="embedding")(x.swapaxes(0, 1)))
        past = _past(self.window, self.size, carry, embedded, done.T)
        given = self._block(embedded, past)
        return given.swapaxes(0, 1), past.carries().swapaxes(0, 1)

    def _block(self, x: jax.Array, past: "Past") -> jax.Array:
        """What the block makes of embeddings [B, L, size]."""
        normal = nn.LayerNorm(name="before_attention")(past.tokens)
        read = dense(self.size, 1.0, name="read")(self._attention(normal, past))
        x = Gate(self.size, name="attention_gate")(x, nn.relu(read))
        hidden = dense(self.size, SQRT2, name="hidden")(nn.LayerNorm(name="before_hidden")(x))
        update = dense(self.size, SQRT2, name="output")(nn.relu(hidden))
        return Gate(self.size, name="output_gate")(x, nn.relu(update))

    def _attention(self, tokens: jax.Array, past: "Past") -> jax.Array:
        """Of each step what it reads of the steps before it and of itself, [B, L, size]."""
        width = self.size // self.heads
        if width * self.heads != self.size:
            raise UsageError(
                f"network 'gtrxl' has {self.heads} heads: let the last of `hidden` be a multiple "
                f"of that, not {self.size}"
            )

        query, key, value = (
            self.param(name, orthogonal(), (self.size, self.size)).reshape(-1, self.heads, width)
            for name in ("query", "key", "value")
        )
        # An `einsum` has the order with the fewest operations: of many steps keys and values are
        # made once, and the query of a single step goes back through the weights of the keys.
        asking = tokens[:, self.window :]
        scores = jnp.einsum("bli,ihd,jhd,bkj->bhlk", asking, query, key, tokens)
        bias = self.param("distance", nn.initializers.zeros, (self.heads, self.window + 1))
        scores = scores * width**-0.5 + bias[:, jnp.clip(past.distance, 0, self.window)]
        share = nn.softmax(jnp.where(past.readable()[:, None], scores, -jnp.inf))
        read = jnp.einsum("bhlk,bkj,jhd->blhd", share, tokens, value)
        return read.reshape(*read.shape[:2], self.size)


class Past(NamedTuple):
    """What L steps may read: W places of a carry, some of them empty, then the steps themselves."""

    tokens: jax.Array  # [B, W + L, H]
    exists: jax.Array  # [B, W + L] bool: a carry may have fewer steps than W
    episode: jax.Array  # [B, W + L] int32, its number
    distance: jax.Array  # [L, W + L] int32: how many steps before each of L steps

    def readable(self) -> jax.Array:
        """Which steps each of L steps may read, bool [B, L, W + L]."""
        length, total = self.distance.shape
        near = (self.distance >= 0) & (self.distance <= total - length)
        same = self.episode[:, total - length :, None] == self.episode[:, None]
        return near & same & self.exists[:, None]

    def carries(self) -> jax.Array:
        """The carry behind each of L steps, [B, L, W x (H + 1)]."""
        length, total = self.distance.shape

        def windows(x: jax.Array) -> jax.Array:
            """[B, W + L, ...] to the W steps up to each of L, [B, L, W, ...]."""
            first = 1 + jnp.arange(length)
            window = partial(jax.lax.dynamic_slice_in_dim, slice_size=total - length, axis=1)
            return jax.vmap(window, (None, 0), 1)(x, first)

        same = windows(self.episode) == self.episode[:, total - length :, None]
        kept = windows(self.exists) & same
        steps = jnp.where(kept[..., None], windows(self.tokens), 0.0)
        flat = steps.reshape(*steps.shape[:2], -1)
        return jnp.concatenate([flat, kept.astype(flat.dtype)], axis=-1)


def _past(window: int, size: int, carry: jax.Array, embedded: jax.Array, done: jax.Array) -> Past:
    """A carry [B, W x (H + 1)], and what follows: embeddings [B, L, H] and ends [B, L]."""
    batch, length = done.shape
    carried = jax.lax.stop_gradient(carry[:, : window * size]).reshape(batch, window, size)
    was = carry[:, window * size :] > 0
    # What was carried and the first step are of episode 0. The step behind an end begins another.
    number = jnp.cumsum(done[:, :-1], axis=1, dtype=jnp.int32)
    return Past(
        jnp.concatenate([carried, embedded], axis=1),
        jnp.concatenate([was, jnp.ones_like(done)], axis=1),
        jnp.pad(number, ((0, 0), (window + 1, 0))),
        window + jnp.arange(length)[:, None] - jnp.arange(window + length),
    )


class Gate(nn.Module):
    """How much of an update replaces x: a GRU over layers, at first nearly closed.

    Source: Parisotto et al. 2020, section 3.2, https://arxiv.org/abs/1910.06764.
    """

    size: int
    closed: float = 2.0  # b_g of the paper

    @nn.compact
    def __call__(self, x: jax.Array, update: jax.Array) -> jax.Array:
        """From x and an update of it, each [..., size], to the new x."""
        of_update = jnp.split(dense(3 * self.size, 1.0, name="update")(update), 3, axis=-1)
        of_x = jnp.split(dense(2 * self.size, 1.0, name="present")(x), 2, axis=-1)
        reset = nn.sigmoid(of_update[0] + of_x[0])
        write = nn.sigmoid(of_update[1] + of_x[1] - self.closed)
        new = nn.tanh(of_update[2] + dense(self.size, 1.0, name="reset")(reset * x))
        return (1.0 - write) * x + write * new
