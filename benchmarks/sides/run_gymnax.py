"""Random actions through gymnax's own step, vmapped; it resets by itself."""

import gymnax
import jax
import jax.numpy as jnp
import side


def main() -> None:
    """Random actions, with all that a learner needs kept; the result is the mean return."""
    work = side.work()
    env, params = gymnax.make(work["env"])
    envs, length, rollouts = work["num_envs"], work["rollout_length"], work["rollouts"]
    num_actions = env.action_space(params).n

    def step(loop, _):
        key, obs, state = loop
        key, key_act, key_step = jax.random.split(key, 3)
        action = jax.random.randint(key_act, (envs,), 0, num_actions)
        next_obs, state, reward, terminated, truncated, info = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(key_step, envs), state, action, params)
        seen = (obs, action, reward, terminated, truncated, info["final_observation"])
        return (key, next_obs, state), seen

    def rollout(loop, _):
        *carry, _ = loop
        carry, seen = jax.lax.scan(step, tuple(carry), length=length)
        _, _, reward, terminated, truncated, _ = seen
        last = jax.tree.map(lambda x: x[-1], seen)  # Carried, so that all of it has to be made.
        return (*carry, last), (reward.sum(), (terminated | truncated).sum())

    def run(key):
        key, key_reset = jax.random.split(key)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, envs), params
        )
        shapes = jax.eval_shape(lambda loop: step(loop, None)[1], (key, obs, state))
        last = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(rollout, (key, obs, state, last), length=rollouts)

    def check(out):
        rewards, episodes = out[1]
        return rewards.sum() / episodes.sum()

    key = jax.random.key(work["seed"])
    side.answer_program(run, [key], envs * length * rollouts, check, ["gymnax"])


main()
