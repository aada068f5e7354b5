"""The studies of memories' lengths and of DeepSea, with tiny numbers."""

import json

import pytest
from states import compiled_quickly

TINY = {
    "memory_lengths": ("ppo min_gru", "3", "4096", "success"),
    "deep_sea": ("ppo counts", "3", "4096", "solved"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_study_measures_reads_and_draws(study, name, tmp_path, capsys):
    variant, size, steps, figure = TINY[name]
    figures, out = tmp_path / "figures.json", tmp_path / "figures.png"
    with compiled_quickly():
        study(name).main(
            ["--num-seeds", "2", "--env-steps", steps, "--json", str(figures)]
            + ["--variant", variant, "--size", size]
        )
    study(name).main(["--from", str(figures), "--out", str(out)])
    measured, read = capsys.readouterr().out.splitlines()
    assert measured == read and measured.startswith(variant)
    found = json.loads(figures.read_text())[variant][size]
    assert len(found[figure]) == 2 and found["env_steps"] >= int(steps)
    if name == "deep_sea":  # three right actions in a row, of eight ways
        assert all(1 <= solved <= found["env_steps"] for solved in found["solved"])
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, variant",
    [
        ("memory_lengths", "ppo mlp"),
        ("memory_lengths", "r2d2"),
        ("deep_sea", "dqn ez_greedy"),
        ("deep_sea", "ppo rnd"),
    ],
)
def test_a_variant_is_an_agent_at_the_largest_size(study, name, variant):
    module = study(name)
    assert variant in module.VARIANTS
    size = (module.LENGTHS if name == "memory_lengths" else module.SIZES)[-1]
    assert module.agent(variant, size).num_iterations > 10
