"""The scripts that people copy, with tiny numbers."""

import importlib

import jax
import jax.numpy as jnp
import pages
import pytest
from click.testing import CliRunner
from states import compiled_quickly

import rljax


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(pages.ROOT / "scripts")
    return importlib.import_module


@pytest.fixture
def trained(monkeypatch):
    """What `rljax.train` gives back, as a list of (state, history)."""
    outcomes, train = [], rljax.train

    def remembering(*arguments, **options):
        outcomes.append(train(*arguments, **options))
        return outcomes[-1]

    monkeypatch.setattr(rljax, "train", remembering)
    return outcomes


def run(main, *words):
    with compiled_quickly():
        done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", ["ppo_cartpole", "custom_env", "plot_policy_lag"])
def test_help_says_what_it_does_and_takes(script, name):
    module = script(name)
    text = run(module.main, "--help")
    assert module.__doc__.splitlines()[0][:40] in text and "--total-env-steps" in text


@pytest.mark.long
def test_ppo_cartpole_trains_its_own_network_with_its_own_update(script, trained, tmp_path):
    out = tmp_path / "curve.png"
    words = ["--num-seeds", "2", "--total-env-steps", str(512 * 10), "--out", str(out)]
    lines = run(script("ppo_cartpole").main, *words).splitlines()
    [(state, history)] = trained
    assert [line.split()[0] for line in lines] == [f"{512 * i:,}" for i in range(1, 11)]
    assert all(len(line.split(":")[1].split()) == 2 for line in lines)
    assert state.learner.params["params"]["LayerNorm_0"]["scale"].shape == (2, 64)
    assert history["return"].shape == (10, 2) and (history["charts/distance"] > 0).all()
    assert out.read_bytes().startswith(b"\x89PNG")


def test_ppo_cartpole_fits_on_a_screen():
    assert len((pages.ROOT / "scripts/ppo_cartpole.py").read_text().splitlines()) <= 80


@pytest.mark.slow
def test_plot_policy_lag_compares_with_and_without_the_correction(script, trained, tmp_path):
    out, module = tmp_path / "lag.png", script("plot_policy_lag")
    words = ["--lag", "2", "--num-seeds", "2", "--num-episodes", "2", "--total-env-steps", "2560"]
    text = run(module.main, *words, "--out", str(out))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `impala`")]
    assert [row[1:4] for row in rows] == [["2", "V-trace", "2"], ["2", "none", "2"]]
    for (_, history), row in zip(trained, rows, strict=True):
        assert history["return"].shape == (10, 2)
        last = history["return"][-1]
        assert row[4:7] == [f"{last.mean():.1f}", "-", f"{last.mean():.1f}"]
        assert row[7] == f"{last.min():.1f} |"
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_dyna_measures_and_draws_each_study(script, tmp_path, monkeypatch):
    module, figures, out = script("dyna"), tmp_path / "dyna.json", tmp_path / "dyna.png"
    monkeypatch.setattr(module, "PLANNING", (0, 5))
    words = ["--num-seeds", "2", "--shorter", "25", "--json", str(figures)]
    first = run(module.main, *words).splitlines()
    second = run(module.main, "--from", str(figures), "--out", str(out)).splitlines()
    said = [line for line in second if ":" in line]
    assert len(said) == 2 + 4 + 2 and set(said) <= set(first)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_larger_dyna_maze_has_a_way_as_many_times_as_long(script):
    module = script("dyna")
    env = module.larger(3)
    assert (env.cells != "#").sum() == 47 * 9 and (env.cells == "S").sum() == 1
    assert module.shortest(module.larger(1)) == 14 and 36 <= module.shortest(env) <= 42


def test_what_stays_central_is_not_charged(script, make_batch):
    obs = jnp.zeros((2, 3, 4)).at[0, 0, 0].set(-2.0)
    update = script("ppo_cartpole").stay_central(0.1)
    _, _, batch, metrics = update.apply((), (), make_batch(2, 3, next_obs=obs), jax.random.key(0))
    expected = jnp.zeros((2, 3)).at[0, 0].set(-0.2)
    assert jnp.allclose(batch.reward, expected) and jnp.allclose(metrics["charts/distance"], 2 / 6)


@pytest.mark.long
def test_custom_env_learns_to_land(script):
    words = ["--agent", "a2c", "--total-env-steps", "100000"]
    lines = run(script("custom_env").main, *words).splitlines()
    before, after = (float(line.split()[2].rstrip(",")) for line in lines)
    assert [line.split(":")[0] for line in lines] == ["before", "after"] and after > before + 2


def test_a_landing_ends_where_the_ground_is(script):
    module = script("custom_env")
    env, key = module.SoftLanding(), jax.random.key(0)
    flying = module.State(jnp.float32(0.4), jnp.float32(-2.0), jnp.int32(3))
    _, _, reward, landed, late = env.step(key, flying, jnp.int32(1))
    assert reward == pytest.approx(-0.1) and not landed and not late
    state, _, reward, landed, late = env.step(key, flying._replace(height=0.1), jnp.int32(0))
    assert state.speed == -2.5 and reward == -2.5 and landed and not late
    assert env.step(key, flying._replace(height=9.0, time=199), jnp.int32(0))[4]


@pytest.mark.parametrize(
    "name", ["a2c", "apex", "appo", "impala", "reinforce", "dqn", "rainbow", "pqn"]
)
@pytest.mark.long
def test_custom_env_serves_every_agent_with_a_network(script, name):
    bounds = {"v_min": -500.0, "v_max": 0.0} if name == "rainbow" else {}
    rljax.agents.factory(name)(script("custom_env").SoftLanding(), **bounds)  # traces an iteration
