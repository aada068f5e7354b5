import jax
import numpy as np
import pytest

import rljax
from rljax.envs import probes
from rljax.training import rows


def test_episode_means_are_weighted_by_episodes_and_absent_without_any(agent):
    metrics = {
        "charts/episodes": np.array([1.0, 3.0, 0.0]),
        "charts/episodic_return": np.array([10.0, 20.0, np.nan]),
        "losses/entropy": np.array([1.0, 2.0, 3.0]),
    }
    row = rows.summarize(agent, metrics, 3, 1.0)
    assert row["charts/episodic_return"] == 17.5 and row["charts/episodes"] == 4
    assert row["losses/entropy"] == 2.0
    none = {name: values[2:] for name, values in metrics.items()}
    assert rows.summarize(agent, none, 3, 1.0)["charts/episodic_return"] is None


@pytest.mark.long
def test_what_keeps_an_agent_from_learning_is_warned_of_once():
    """Of a reward of 1 a step nothing fits between -0.1 and 0.1, and all of it between 0 and 10."""
    small = {"num_envs": 4, "buffer_size": 64, "batch_size": 8, "warmup_env_steps": 16}
    options = {**small, "hidden": (8,), "head": "c51", "num_atoms": 5, "total_env_steps": 60}
    hparams = rljax.dqn.Hparams(gamma=0.9)
    for bounds, count in (((-0.1, 0.1), 1), ((0.0, 10.0), 0)):
        v_min, v_max = bounds
        env = probes.ConstantReward()
        agent = rljax.dqn(env, **options, v_min=v_min, v_max=v_max, hparams=hparams)
        warned: list[str] = []
        _, history = rljax.train(
            rljax.vmap(agent), jax.random.split(jax.random.key(0), 2), warn=warned.append
        )
        assert len(warned) == count and all("v_min and v_max" in line for line in warned)
        assert ((history["losses/clipped_targets"] > 0.1) == bool(count)).all()
