"""Targets and losses of temporal differences."""

import chex
import jax
import jax.numpy as jnp

from rljax.ops.returns import of_each_reward

RESCALE_EPSILON = 1e-3
"""What keeps the inverse of `rescaled` Lipschitz continuous."""


def huber(error: jax.Array, delta=1.0) -> jax.Array:
    """Half the squared error, continued in a straight line beyond `delta`; elementwise.

    Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732; with delta 1 it is the
    clipped error of Mnih et al. 2015, https://doi.org/10.1038/nature14236.
    """
    size = jnp.abs(error)
    squared = jnp.minimum(size, delta)
    return 0.5 * jnp.square(squared) + delta * (size - squared)


def td_target(reward: jax.Array, discount: jax.Array, next_value: jax.Array) -> jax.Array:
    """r + discount V(s'), elementwise; the discount is 0 where the episode terminated.

    Source: Sutton and Barto 2018, eq. 6.2, http://incompleteideas.net/book/the-book-2nd.html.
    """
    return reward + discount * next_value


def rescaled(value: jax.Array, epsilon: float = RESCALE_EPSILON) -> jax.Array:
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x: large values made small; elementwise.

    Source: Pohlen et al. 2018, proposition A.2, https://arxiv.org/abs/1805.11593; this epsilon:
    Kapturowski et al. 2019, section 2.3, https://openreview.net/forum?id=r1lyTjAqYX.
    """
    # Not sqrt(|x| + 1) - 1, which rounds small values away.
    root = jnp.sqrt(jnp.abs(value) + 1.0)
    return value / (root + 1.0) + epsilon * value


def unscaled(value: jax.Array, epsilon: float = RESCALE_EPSILON) -> jax.Array:
    """The inverse of `rescaled`; elementwise.

    Source: Pohlen et al. 2018, proposition A.2, https://arxiv.org/abs/1805.11593; in a form that
    does not divide a difference of nearly equal numbers by a small one.
    """
    size = jnp.abs(value)
    # With s = sqrt(|x| + 1) - 1, h = s + epsilon (s^2 + 2 s): a quadratic equation for s.
    linear = 1.0 + 2.0 * epsilon
    root = 2.0 * size / (linear + jnp.sqrt(jnp.square(linear) + 4.0 * epsilon * size))
    return jnp.sign(value) * root * (root + 2.0)


def n_step_returns(
    reward: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma,
    n: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Up to `n` rewards in one, over [T, N], such that the target is reward + discount V(s'_last).

    Rewards are [T], [T, N] or, of several agents, [T, N, M], who end together.

    Summing stops with the step at which the episode ends, or with the last row.

    Args:
        reward: [T, N], or [T, N, M].
        terminated: bool [T, N].
        truncated: bool [T, N].
        gamma: discount per step, a scalar.
        n: how many rewards at most; a Python int.

    Returns:
        reward: as given, r_t + gamma r_{t+1} + ... of the k <= n steps summed.
        discount: as reward, gamma^k, or 0 where the last of the steps terminated.
        last: int32 [T, N], the row of the last of them: bootstrap from its `next_obs`.

    Source: Sutton and Barto 2018, eq. 7.1, http://incompleteideas.net/book/the-book-2nd.html.
    """
    ends = terminated.shape
    terminated, truncated = of_each_reward(reward, terminated, truncated)
    time = jnp.arange(len(reward), dtype=jnp.int32).reshape(-1, *[1] * (reward.ndim - 1))
    one_step = reward, gamma * (1.0 - terminated), jnp.broadcast_to(time, terminated.shape)
    goes_on = ~(terminated | truncated) & (time < len(reward) - 1)

    def after(x: jax.Array) -> jax.Array:
        return jnp.roll(x, -1, axis=0)  # the last row never goes on to the first

    total, discount, last = one_step
    for _ in range(n - 1):
        total = reward + jnp.where(goes_on, gamma * after(total), 0.0)
        discount = jnp.where(goes_on, gamma * after(discount), one_step[1])
        last = jnp.where(goes_on, after(last), one_step[2])
    return total, jnp.broadcast_to(discount, total.shape), last.reshape(ends)


def lambda_returns(
    reward: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma,
    lambda_,
) -> jax.Array:
    """Lambda-returns: n-step targets of all n, weighted by lambda^(n - 1).

    They are of steps [T], [T, N] or, of several agents, [T, N, M].

        G_t = r_t + gamma ((1 - lambda) V(s'_t) + lambda G_{t+1})

    `next_value` is the value of the observation the step led to, *before* any automatic reset. A
    truncated step and the last row take all of V(s'_t), a terminated step nothing. Agents of one
    environment end together: `terminated` and `truncated` are [T, N] for them, too.

    Source: Sutton and Barto 2018, eq. 12.18, http://incompleteideas.net/book/the-book-2nd.html;
    with V = max Q: Gallici et al. 2024 (PQN), https://arxiv.org/abs/2407.04811.
    """
    chex.assert_equal_shape([reward, next_value])
    terminated, truncated = of_each_reward(reward, terminated, truncated)
    discount = gamma * (1.0 - terminated)
    mix = lambda_ * (1.0 - truncated)

    def backward(later, step):
        reward_t, value_t, discount_t, mix_t = step
        target = reward_t + discount_t * ((1.0 - mix_t) * value_t + mix_t * later)
        return target, target

    steps = (reward, next_value, discount, mix)
    return jax.lax.scan(backward, next_value[-1], steps, reverse=True)[1]


def discounted_returns(
    reward: jax.Array, terminated: jax.Array, truncated: jax.Array, gamma
) -> tuple[jax.Array, jax.Array]:
    """Discounted rewards from each step to the end of its episode, over [T] or [T, N].

    Returns:
        returns: [T, N], up to the last row where that comes first.
        complete: bool [T, N], whether the episode ends within the batch. The other returns are
            cut off, and without a value function nothing can stand for what is missing: leave
            those steps out. With one, use `lambda_returns` and a lambda of 1.

    An episode that is truncated counts as complete: its return is what the clock let it earn.

    Source: Sutton and Barto 2018, eq. 3.11, http://incompleteideas.net/book/the-book-2nd.html.
    """
    chex.assert_rank(reward, {1, 2})
    chex.assert_equal_shape([reward, terminated, truncated])
    done = terminated | truncated

    def backward(later, step):
        total, complete = later
        reward_t, done_t = step
        now = reward_t + gamma * jnp.where(done_t, 0.0, total), complete | done_t
        return now, now

    nothing = jnp.zeros_like(reward[0]), jnp.zeros_like(done[0])
    return jax.lax.scan(backward, nothing, (reward, done), reverse=True)[1]


def categorical_projection(
    atoms: jax.Array, probabilities: jax.Array, reward: jax.Array, discount: jax.Array
) -> jax.Array:
    """The distribution of r + discount Z, laid back onto the atoms of Z.

    Args:
        atoms: [M], at least two and evenly spaced; what falls beyond them goes to the outermost.
        probabilities: of Z at each atom [..., M].
        reward: [...].
        discount: [...].

    Returns:
        Probabilities [..., M]: each moved atom is shared by its two neighbours, nearer gets more.

    Source: Bellemare et al. 2017, eq. 7 and algorithm 1, https://arxiv.org/abs/1707.06887.
    """
    chex.assert_rank(atoms, 1)
    chex.assert_equal_shape([reward, discount])
    chex.assert_shape(probabilities, (*reward.shape, len(atoms)))
    return projected(atoms, probabilities, reward[..., None] + discount[..., None] * atoms)


def projected(atoms: jax.Array, probabilities: jax.Array, moved: jax.Array) -> jax.Array:
    """A distribution on numbers `moved` [..., M], laid onto the atoms [M]: `categorical_projection`
    of atoms that moved in any way."""
    # No scatter, which is slow. For a sum in the place of the product, XLA works out the
    # probabilities again for every row.
    return jnp.einsum("...ij,...j->...i", _shares(atoms, moved), probabilities)


def two_hot(atoms: jax.Array, numbers: jax.Array) -> jax.Array:
    """The distribution on atoms [M] whose mean is a number, for numbers [...]: [..., M].

    Each number is shared by its two neighbours, and what lies beyond the atoms by the outermost.

    Source: Schrittwieser et al. 2020, appendix F, https://arxiv.org/abs/1911.08265.
    """
    chex.assert_rank(atoms, 1)
    return jnp.squeeze(_shares(atoms, numbers[..., None]), -1)


def _shares(atoms: jax.Array, numbers: jax.Array) -> jax.Array:
    """What each of the atoms [M], by row, gets of each of numbers [..., K]: [..., M, K]."""
    numbers = jnp.clip(numbers, atoms[0], atoms[-1])
    spacing = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    return jnp.clip(1.0 - jnp.abs(numbers[..., None, :] - atoms[:, None]) / spacing, 0.0, 1.0)


def quantile_huber(predicted: jax.Array, tau: jax.Array, target: jax.Array, kappa=1.0) -> jax.Array:
    """The loss that turns M predictions into the `tau` quantiles of what the targets come from.

        rho(u) = |tau - 1{u < 0}| huber(u, kappa) / kappa, with u = target - predicted

    Args:
        predicted: [..., M].
        tau: the fraction each prediction stands for [..., M], in [0, 1].
        target: K samples or quantiles of the target [..., K].
        kappa: above 0; up to this error the loss is a square.

    Returns:
        [...], the mean over targets of rho, summed over predictions.

    Source: Dabney et al. 2018, eq. 10, https://arxiv.org/abs/1710.10044; divided by kappa as in
    Dabney et al. 2018 (IQN), eq. 3, https://arxiv.org/abs/1806.06923.
    """
    chex.assert_equal_shape([predicted, tau])
    chex.assert_equal_rank([predicted, target])
    error = target[..., None, :] - predicted[..., :, None]
    weight = jnp.abs(tau[..., :, None] - (error < 0))
    return jnp.mean(weight * huber(error, kappa) / kappa, axis=-1).sum(axis=-1)
