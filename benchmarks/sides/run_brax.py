"""Random actions through Brax's own wrappers for many environments, time limits and resets."""

import jax
import side
from brax import envs
from brax.envs.wrappers import training


def main() -> None:
    """Random actions, with all that a learner needs kept; the result is the mean return."""
    work = side.work()
    task = envs.get_environment(work["env"].removeprefix("brax/"), **work["environment"])
    env, num_envs = training.wrap(task), work["num_envs"]

    def start(key):
        key, key_reset = jax.random.split(key)
        # Brax takes keys as their bits.
        return key, env.reset(jax.random.key_data(jax.random.split(key_reset, num_envs)))

    def step(carry):
        key, state = carry
        key, key_act = jax.random.split(key)
        action = jax.random.uniform(key_act, (num_envs, env.action_size), minval=-1.0)
        after = env.step(state, action)
        seen = {
            "obs": state.obs,
            "action": action,
            "reward": after.reward,
            "truncated": after.info["truncation"],
            "over": after.done,
            "next_obs": after.obs,
        }
        return (key, after), seen

    side.answer_rollouts(start, step, ["brax"])


main()
