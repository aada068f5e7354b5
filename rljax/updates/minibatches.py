"""Several passes over one batch in shuffled minibatches."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from rljax import collectives
from rljax.errors import check_divides, check_positive
from rljax.ops.shuffle import permutation
from rljax.types import Batch, Key, Metrics, Params, Parts, Update, UpdateState
from rljax.updates.composition import in_parts, run
from rljax.updates.per_environment import check_shared

Scales = dict[str, tuple[jax.Array, jax.Array]]
"""Names of extras to their means and standard deviations."""


def epochs(
    update: Update,
    num_epochs: int,
    num_minibatches: int,
    sequence_length: int = 1,
    stop: Callable[[Metrics], jax.Array] | None = None,
    standardize: Sequence[str] = (),
) -> Update:
    """Apply `update` to every minibatch of every epoch, in a new random order each epoch.

    A batch [T, N] is cut into sequences of `sequence_length` L steps, and minibatches are sampled
    from those: the update sees [L, B], and the carry of the first row alone, [1, B, ...]. Recurrent
    networks want long sequences; without a carry L = 1 mixes best. With `stop`, the rest of the
    epochs is skipped once `stop(metrics)` is true of an update: that update is still applied.

    Reads and writes what `update` reads; the batch goes on unchanged. Metrics are means over the
    updates that were made; `losses/updates_made` is the fraction of them, if `stop` is given.

    The extras [T, N], or [T, N, M] of several agents, named by `standardize` have mean 0 and
    deviation 1 within each minibatch, over all agents.

    One epoch of one minibatch is `update` on the whole batch, in no random order. It is in parts if
    `update` is, and if nothing stops it.
    """
    check_positive(
        num_epochs=num_epochs, num_minibatches=num_minibatches, sequence_length=sequence_length
    )

    def cut(batch: Batch) -> tuple[Batch, int]:
        """The batch as sequences [L, S, ...], and S."""
        length, envs = batch.truncated.shape
        check_divides("rollout_length", length, "sequence_length", sequence_length)
        sequences = jax.tree.map(lambda x: _sequences(x, sequence_length), batch)
        if "carry" in sequences.extras:  # Not all of it is gathered for each minibatch.
            first = jax.tree.map(lambda x: x[:1], sequences.extras["carry"])
            sequences = sequences.annotate(carry=first)
        return sequences, length // sequence_length * envs

    def scaled(minibatch: Batch, scale: Scales) -> Batch:
        for name, (mean, deviation) in scale.items():
            standard = (minibatch.extras[name] - mean) / (deviation + 1e-8)
            minibatch = minibatch.annotate(**{name: standard})
        return minibatch

    def init(params: Params, key: Key) -> UpdateState:
        return check_shared(update.init(params, key), "minibatches")

    if update.parts is not None and stop is None and num_epochs == num_minibatches == 1:
        contribute_of, absorb = update.parts

        def contribute(params: Params, batch: Batch, key: Key):
            sequences, size = cut(batch)
            whole = jnp.arange(size)[None]
            scale = {name: _moments(sequences.extras[name], whole) for name in standardize}
            scale = jax.tree.map(lambda x: x[0], scale)
            contribution, _, metrics = contribute_of(params, scaled(sequences, scale), key)
            return contribution, batch, metrics

        return in_parts(init, Parts(contribute, absorb))

    def apply(params: Params, state: UpdateState, batch: Batch, key: Key):
        sequences, size = cut(batch)
        shares = collectives.count()
        by = "num_minibatches" if shares == 1 else f"num_minibatches x {shares} devices"
        what = "num_envs x rollout_length" + (" / sequence_length" if sequence_length > 1 else "")
        check_divides(what, size * shares, by, num_minibatches * shares)
        key_order, key_update = jax.random.split(key)
        order = jax.vmap(lambda k: permutation(k, size))(jax.random.split(key_order, num_epochs))
        order = order.reshape(num_epochs * num_minibatches, size // num_minibatches)
        keys = jax.random.split(key_update, num_epochs * num_minibatches)
        scales = {name: _moments(sequences.extras[name], order) for name in standardize}

        def fit(params, state, rows, scale, k):
            minibatch = scaled(jax.tree.map(lambda x: x[:, rows], sequences), scale)
            params, state, _, metrics = run(update, params, state, minibatch, k)
            return params, state, metrics

        inputs = (order, scales, keys)
        if stop is None:

            def one(learner, of_minibatch):
                *learner, metrics = fit(*learner, *of_minibatch)
                return tuple(learner), metrics

            (params, state), metrics = jax.lax.scan(one, (params, state), inputs)
            return params, state, batch, jax.tree.map(jnp.mean, metrics)

        def next_one(loop):
            params, state, sums, made, _ = loop
            of_minibatch = jax.tree.map(lambda x: x[made], inputs)
            params, state, metrics = fit(params, state, *of_minibatch)
            # Devices that disagreed would wait for each other's gradients for ever.
            stopped = stop(collectives.pmean(metrics))
            return params, state, jax.tree.map(jnp.add, sums, metrics), made + 1, stopped

        def goes_on(loop):
            *_, made, stopped = loop
            return (made < len(keys)) & ~stopped

        first = jax.tree.map(lambda x: x[0], inputs)
        zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(fit, params, state, *first)[2])
        # Under `vmap` a `cond` computes both branches, so stopping would save nothing.
        params, state, sums, made, _ = jax.lax.while_loop(
            goes_on, next_one, (params, state, zeros, jnp.int32(0), jnp.bool_(False))
        )
        means = jax.tree.map(lambda x: x / made, sums)
        return params, state, batch, {**means, "losses/updates_made": made / len(keys)}

    return Update(init, apply)


def _moments(x: jax.Array, order: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of x [L, S, ...] over each row of `order` [K, B]; [K] each.

    For all minibatches at once: between devices that is one exchange instead of K.
    """
    chosen = x[:, order]
    within = (0, *range(2, chosen.ndim))
    mean = collectives.pmean(jnp.mean(chosen, axis=within))
    centred = chosen - jnp.expand_dims(mean, range(1, chosen.ndim - 1))
    variance = jnp.mean(jnp.square(centred), axis=within)
    return mean, jnp.sqrt(collectives.pmean(variance))


def _sequences(x: jax.Array, length: int) -> jax.Array:
    """[T, N, ...] cut in time to [L, T / L * N, ...]."""
    time, envs, *rest = x.shape
    x = x.reshape(time // length, length, envs, *rest)
    return jnp.swapaxes(x, 0, 1).reshape(length, -1, *rest)
