"""The study of what keeps DQN's values right."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from states import compiled_quickly


@pytest.mark.slow
def test_dqn_stability_measures_and_draws_each_variant(study, monkeypatch, tmp_path, capsys):
    module = study("dqn_stability")
    assert module.VARIANTS["the config: 5 steps, replay of all"] == {} and len(module.VARIANTS) > 5
    monkeypatch.setattr(module, "VARIANTS", {"Huber's loss": {"structure.loss": "huber"}})
    figures, out = tmp_path / "figures.json", tmp_path / "figures.png"
    with compiled_quickly():
        words = ["--num-seeds", "2", "--env-steps", "1600", "--json", str(figures)]
        module.main(words)
    module.main(["--from", str(figures), "--out", str(out)])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second and first.startswith("Huber's loss")
    (found,) = json.loads(figures.read_text()).values()
    assert np.shape(found["returns"]) == (2,) and np.shape(found["values"])[1] == 2
    assert all(0 <= part < 1 for parts in found["dead"] for part in parts)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_dead_units_are_those_that_nothing_activates(study):
    layer = {"kernel": jnp.eye(3), "bias": jnp.array([0.0, 0.0, -9.0])}
    params = {"params": {"MLP_0": {"Dense_0": layer, "Dense_1": layer}}}
    obs = jnp.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    # In either layer only the first unit is ever above 0.
    assert study("dqn_stability").dead_units(params, obs) == pytest.approx(4 / 6)
