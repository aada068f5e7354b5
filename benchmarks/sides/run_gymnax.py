"""Random actions through gymnax's own step, vmapped; it resets by itself."""

import gymnax
import jax
import side


def main() -> None:
    """Random actions, with all that a learner needs kept; the result is the mean return."""
    work = side.work()
    env, params = gymnax.make(work["env"])
    envs, num_actions = work["num_envs"], env.action_space(params).n

    def start(key):
        key, key_reset = jax.random.split(key)
        keys = jax.random.split(key_reset, envs)
        return (key, *jax.vmap(env.reset, in_axes=(0, None))(keys, params))

    def step(carry):
        key, obs, state = carry
        key, key_act, key_step = jax.random.split(key, 3)
        action = jax.random.randint(key_act, (envs,), 0, num_actions)
        next_obs, state, reward, terminated, truncated, info = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(key_step, envs), state, action, params)
        seen = {
            "obs": obs,
            "action": action,
            "reward": reward,
            "terminated": terminated,
            "over": terminated | truncated,
            "next_obs": info["final_observation"],
        }
        return (key, next_obs, state), seen

    side.answer_rollouts(start, step, ["gymnax"])


main()
