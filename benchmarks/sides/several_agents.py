"""PettingZoo's simple_spread as the vector of environments that Stable-Baselines3 learns from."""

import numpy as np
from mpe2 import simple_spread_v3
from stable_baselines3.common.vec_env import VecEnv

EPISODE = 25  # steps


class Spread(VecEnv):
    """N environments of M agents as N x M rows: so PPO is IPPO with shared parameters."""

    def __init__(self, num_envs, seed):
        self.envs = [simple_spread_v3.parallel_env() for _ in range(num_envs)]
        for number, env in enumerate(self.envs):
            env.reset(seed=seed * num_envs + number)
        self.returns = [0.0] * num_envs  # of whole teams, since their episodes began
        self.names = self.envs[0].possible_agents
        one = self.names[0]
        super().__init__(
            num_envs * len(self.names),
            self.envs[0].observation_space(one),
            self.envs[0].action_space(one),
        )

    def reset(self):
        """Observations [N x M, F]."""
        return np.concatenate([self._rows(env.reset()[0]) for env in self.envs])

    def step_async(self, actions):
        """Remember actions [N x M]."""
        self.actions = np.reshape(actions, (len(self.envs), -1))

    def step_wait(self):
        """Observations, rewards, ends and informations of all rows."""
        steps = [self._step(number) for number in range(len(self.envs))]
        obs, rewards, dones, infos = zip(*steps, strict=True)
        return (
            np.concatenate(obs),
            np.concatenate(rewards),
            np.concatenate(dones),
            [info for of_agents in infos for info in of_agents],
        )

    def _step(self, number):
        env, actions = self.envs[number], self.actions[number]
        seen, reward, _, truncated, _ = env.step(dict(zip(self.names, actions, strict=True)))
        self.returns[number] += sum(reward.values())
        obs, infos = self._rows(seen), [{} for _ in self.names]
        if not env.agents:
            for info, last in zip(infos, obs, strict=True):
                info |= {"terminal_observation": last, "TimeLimit.truncated": True}
            infos[0]["episode"] = {"r": self.returns[number], "l": EPISODE, "t": 0.0}
            self.returns[number] = 0.0
            obs = self._rows(env.reset()[0])
        return obs, self._rows(reward), self._rows(truncated), infos

    def _rows(self, of_agents):
        return np.stack([of_agents[name] for name in self.names])

    def close(self):
        """Close nothing."""

    def get_attr(self, attr_name, indices=None):
        """None has the attributes that are asked for, such as `render_mode`."""
        return [None] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        """Refuse."""
        raise NotImplementedError

    def env_method(self, method_name, *arguments, indices=None, **options):
        """Refuse."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        """None is."""
        return [False] * self.num_envs
