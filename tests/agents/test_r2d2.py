"""R2D2: what its replay has of the network's carry, on the device and from actors."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import different_leaves, jit
from walks import walks

import rljax
from rljax.envs import goals
from rljax.errors import UsageError
from rljax.replay import packing

N, T = 4, 4
SIZES = {"num_envs": N, "rollout_length": T, "updates_per_iteration": 2, "hidden": (8,)}
REPLAY = {"buffer_size": 256, "batch_size": 8, "warmup_env_steps": 4 * N * T}
WINDOWS = {"sequence_length": 4, "burn_in": 2, "overlap": 2, "n_step": 2}


def r2d2(env, lr: float = 0.0, **options):
    hparams = rljax.r2d2.Hparams(lr=lr)
    return rljax.r2d2(env, **{**SIZES, **REPLAY, **WINDOWS, "hparams": hparams, **options})


@cache
def carried(agent):
    return jit(lambda state, obs, carry: agent.act(state, obs, carry, None)[1])


def check_carries(agent, state):
    """That each stored carry is the one that the network has made of its episode so far."""
    replay = jax.device_get(state.worker.replay)
    written = int(replay.size[0])
    rows = jax.tree.map(
        np.asarray, packing.unpack(replay.layout, jnp.asarray(replay.storage[:, :written]))
    )
    firsts = packing.unpack(replay.first_layout, jnp.asarray(replay.firsts))["carry"]
    stride = replay.storage.shape[1] // replay.firsts.shape[1]
    done = rows.terminated | rows.truncated
    carry = np.zeros((N, agent.initial_carry((N,)).shape[-1]), np.float32)
    nonzero = 0
    for t in range(written):
        if t % stride == 0:
            np.testing.assert_allclose(firsts[:, t // stride], carry, rtol=1e-4, atol=1e-5)
            nonzero += (np.abs(carry).max(-1) > 0).sum()
        carry = np.array(carried(agent)(state, rows.obs[:, t], carry))
        carry[done[:, t]] = 0.0
    assert nonzero > N and done.any()


@pytest.mark.long
@pytest.mark.parametrize("network", ["lstm", "min_gru", "gtrxl"])
def test_the_carry_of_each_window_is_that_of_its_episode_also_in_the_warm_up(walk, network):
    agent = r2d2(walk, network=network)
    state = jit(agent.init)(jax.random.key(0))
    step = jit(agent.step)
    for _ in range(3):
        state, metrics = step(state)
    assert np.isfinite(metrics["losses/td_loss"])
    check_carries(agent, state)


@pytest.mark.slow
def test_actors_bring_the_carry_of_their_network_and_any_number_gives_the_same_bits():
    states = []
    for actors in (1, 2):
        agent = r2d2(walks(), total_env_steps=8 * N * T)
        state, history = rljax.train(rljax.distribute(agent, actors), jax.random.key(0))
        assert list(history["charts/policy_lag"]) == [0, 1, 1, 1]
        check_carries(agent, state)
        states.append(state)
    assert not different_leaves(*states)


@pytest.mark.long
def test_without_memory_and_with_sequences_of_one_step_it_is_apex(walk):
    plain = {"network": "mlp", "sequence_length": 1, "burn_in": 0, "overlap": 0}
    alike = {**SIZES, **REPLAY, "n_step": 2}
    agents = (
        rljax.r2d2(walk, **alike, **plain, rescale_values=False, hparams=rljax.r2d2.Hparams()),
        rljax.apex(walk, **alike, hparams=rljax.r2d2.Hparams()),
    )
    states = [jit(agent.init)(jax.random.key(0)) for agent in agents]
    states = [jit(a.step)(s)[0] for a, s in zip(agents, states, strict=True)]
    assert not different_leaves(*states)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 4}, "^overlap = 4 leaves nothing new to .* sequence_length = 4: make overlap"),
        ({"overlap": -1}, "^overlap must be a whole number of at least 0, not -1$"),
        ({"burn_in": -1}, "^burn_in must be a whole number of at least 0, not -1$"),
        ({"sequence_length": 0}, "^sequence_length must be a whole number of at least 1, not 0$"),
        (
            {"burn_in": 12},
            r"^burn_in \+ sequence_length \+ n_step - 1 = 17 is more than the 16 steps of each",
        ),
        ({"overlap": 1}, "^rollout_length = 4 does not divide by sequence_length - overlap = 3"),
        (
            {"sequence_length": 1, "overlap": 0},
            "^r2d2 learns from single steps, and network 'lstm' from sequences: use",
        ),
        ({"head": "qr"}, "^rescale_values is for the heads scalar and c51: make it False, or"),
    ],
)
def test_windows_that_do_not_fit_are_refused_in_one_sentence(walk, options, message):
    with pytest.raises(UsageError, match=message) as error:
        r2d2(walk, **options)
    assert "\n" not in str(error.value)


def test_hindsight_is_refused_for_sequences():
    with pytest.raises(UsageError, match="^hindsight = 4 gives another goal to single steps"):
        rljax.r2d2(goals.BitFlip(3), hindsight=4)
