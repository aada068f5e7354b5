import jax
import numpy as np
import pytest
from small import SMALL
from states import arrays, digest

import rljax
from rljax.training import loop


def test_trains_the_steps_asked_for_and_tells(agent):
    seen = []
    state, history = rljax.train(
        agent,
        jax.random.key(0),
        chunk_iterations=4,
        hooks=[lambda state, row: {"mine": row["env_steps"] * 2}, lambda s, row: seen.append(row)],
    )
    assert int(state.iteration) == 10
    assert history["env_steps"].tolist() == [128, 256, 320]
    assert history["mine"].tolist() == [256, 512, 640]
    assert [row["mine"] for row in seen] == [256, 512, 640]


def test_steps_that_do_not_divide_are_rounded_up(cartpole):
    assert rljax.ppo(cartpole, total_env_steps=33, **SMALL).num_iterations == 2


@pytest.mark.long
def test_chunks_do_not_change_the_bits(agent):
    small, _ = rljax.train(agent, jax.random.key(0), chunk_iterations=3)
    large, _ = rljax.train(agent, jax.random.key(0), chunk_iterations=10)
    by_hand = jax.jit(agent.init)(jax.random.key(0))
    assert digest(small) == digest(large)
    for _ in range(10):
        by_hand, _ = jax.jit(agent.step)(by_hand)
    for one, other in zip(arrays(small).values(), arrays(by_hand).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_chunks_end_at_multiples_of_their_length_wherever_a_run_is_taken_up(agent):
    state, _ = rljax.train(agent._replace(num_iterations=2), jax.random.key(0))
    ends = [row["iteration"] for _, row in loop.iterate(agent, state, 3)]
    assert ends == [3, 6, 9, 10]


@pytest.mark.long
def test_a_state_handed_in_stays_usable(agent):
    state = agent.init(jax.random.key(0))
    rljax.train(agent, state, chunk_iterations=10)
    assert np.isfinite(np.asarray(state.worker.obs)).all()


@pytest.mark.long
def test_a_population_has_rows_of_lists(agent):
    population = rljax.vmap(agent)
    _, history = rljax.train(population, jax.random.split(jax.random.key(0), 3), chunk_iterations=5)
    assert history["losses/entropy"].shape == (2, 3)
    assert history["env_steps"].shape == (2,)


@pytest.mark.long
def test_memory_does_not_grow_with_the_steps_trained(agent):
    alive = []
    for state, _ in loop.iterate(agent, agent.init(jax.random.key(0)), 1):
        del state
        alive.append(sum(array.nbytes for array in jax.live_arrays()))
    assert len(alive) == 10 and set(alive[2:]) == {alive[2]}
