"""Random actions in mpe2's simple_spread through PettingZoo's parallel interface."""

import random
import time

import side
from mpe2 import simple_spread_v3


def main() -> None:
    """Step one environment; the result is the mean return of the team."""
    work = side.work()
    assert work["env"] == "SimpleSpread-MPE"
    env = simple_spread_v3.parallel_env()
    actions = env.action_space(env.possible_agents[0]).n
    random.seed(work["seed"])
    rewards, episodes = 0.0, 0
    env.reset(seed=work["seed"])
    began = time.perf_counter()
    for _ in range(work["peer_env_steps"]):
        chosen = {agent: random.randrange(actions) for agent in env.agents}
        _, reward, _, _, _ = env.step(chosen)
        rewards += sum(reward.values())
        if not env.agents:
            episodes += 1
            env.reset()
    seconds = time.perf_counter() - began
    packages = ["mpe2", "pettingzoo", "numpy"]
    side.answer(work["peer_env_steps"], [seconds], rewards / episodes, None, packages)


main()
