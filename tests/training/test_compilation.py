import jax
import pytest

import rljax
from rljax.training import loop


@pytest.mark.long
def test_training_stays_where_its_keys_lie(agent):
    there = jax.devices()[1]
    state, _ = rljax.train(agent, jax.device_put(jax.random.key(0), there), chunk_iterations=10)
    assert {device for x in jax.tree.leaves(state) for device in x.devices()} == {there}
    mesh = jax.sharding.Mesh(jax.devices()[:2], "x")
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    keys = jax.device_put(jax.random.split(jax.random.key(0), 2), spread)
    states, _ = rljax.train(rljax.vmap(agent), keys, chunk_iterations=10)
    assert states.iteration.tolist() == [10, 10]


def test_nothing_compiles_after_the_first_chunk(agent):
    programs, counts = [], []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            programs.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for _ in loop.iterate(agent, agent.init(jax.random.key(0)), 3):
            counts.append(len(programs))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert counts[0] > 0 and counts == [counts[0]] * 4
