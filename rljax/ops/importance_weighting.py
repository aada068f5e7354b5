"""V-trace: value targets and advantages from what another policy did."""

import chex
import jax
import jax.numpy as jnp


def vtrace(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    log_ratio: jax.Array,
    gamma: jax.typing.ArrayLike,
    lambda_: jax.typing.ArrayLike = 1.0,
    rho_clip: jax.typing.ArrayLike = 1.0,
    c_clip: jax.typing.ArrayLike = 1.0,
    pg_rho_clip: jax.typing.ArrayLike | None = None,
    weighted: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """V-trace targets and policy-gradient advantages over [T] or [T, N].

        rho_t = min(rho_clip, pi / mu),  c_t = lambda min(c_clip, pi / mu)
        delta_t = r_t + gamma V(s'_t) (1 - terminated_t) - V(s_t)
        v_t - V(s_t) = rho_t delta_t + gamma c_t (1 - done_t) (v_{t+1} - V(s_{t+1}))
        A_t = rho_t (delta_t + gamma lambda (1 - done_t) (v_{t+1} - V(s_{t+1})))

    On-policy, with clips of at least 1, A is `generalized_advantage` and v is A + V: at a lambda of
    1, the sum of rewards up to the end of the episode or of the rollout, and the value there.

    Args:
        reward: [T, N].
        value: V(s_t) [T, N], of what each step saw.
        next_value: V(s'_t) [T, N], of what it led to, *before* any automatic reset: truncation
            bootstraps from it, termination does not, and nothing leaks across either.
        terminated: bool [T, N].
        truncated: bool [T, N].
        log_ratio: log pi(a|s) - log mu(a|s) [T, N], of the policy that learns and the one that
            acted.
        gamma: discount per step.
        lambda_: how far corrections reach, from 0 (one step) to 1.
        rho_clip: the most a step's own ratio counts. It decides whose values are learnt: those of
            pi if it is infinite, and nearer to those of mu the smaller it is.
        c_clip: the most a ratio counts for the steps before it. It decides how fast, and with what
            variance, but not what values are learnt.
        pg_rho_clip: `rho_clip` of the advantages; by default the same.
        weighted: whether A_t has the factor rho_t. Without it, A_t is for a loss that weights each
            step by its own ratio, as the surrogates of PPO do.

    Returns:
        target: v_t [T, N].
        advantage: A_t [T, N].

    Source: Espeholt et al. 2018, eq. 1, remark 1 and 2, and section 4.2,
    https://arxiv.org/abs/1802.01561; lambda in A as in rlax.
    """
    chex.assert_rank(reward, {1, 2})
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated, log_ratio])
    ratio = jnp.exp(log_ratio)
    rho = jnp.minimum(rho_clip, ratio)
    pg_rho = jnp.minimum(rho_clip if pg_rho_clip is None else pg_rho_clip, ratio)
    delta = reward + gamma * next_value * (1.0 - terminated) - value
    decay = gamma * lambda_ * (1.0 - (terminated | truncated))

    def backward(later, step):
        delta_t, decay_t, rho_t, c_t = step
        correction = rho_t * delta_t + decay_t * c_t * later
        return correction, (correction, delta_t + decay_t * later)

    steps = (delta, decay, rho, jnp.minimum(c_clip, ratio))
    start = jnp.zeros_like(delta[0])
    _, (correction, advantage) = jax.lax.scan(backward, start, steps, reverse=True)
    return value + correction, pg_rho * advantage if weighted else advantage
