"""PPO on CartPole with a network and an update of your own: copy this file, and change both.

python scripts/ppo_cartpole.py --num-seeds 8 --out curve.png  # prints returns, ten times a run
"""

from pathlib import Path

import click
import jax
import jax.numpy as jnp
from flax import linen as nn
from matplotlib.figure import Figure

import rljax
from rljax import statistics, updates
from rljax.analysis import plots
from rljax.training.evaluation import episodes


class Net(nn.Module):
    """Your network: here one torso, with layer normalisation, for the policy and the value."""

    @nn.compact
    def __call__(self, x, carry):
        """Features [..., 4] to (logits [..., 2], value [...]); a memory would be in the carry."""
        for size in (64, 64):
            x = nn.silu(nn.LayerNorm()(nn.Dense(size)(x)))
        return (nn.Dense(2)(x), nn.Dense(1)(x)[..., 0]), carry


def stay_central(scale):
    """Your update: here it takes the cart's distance from the middle, x `scale`, off the reward."""

    def apply(params, batch, key):
        distance = jnp.abs(batch.next_obs[..., 0])
        batch = batch.replace(reward=batch.reward - scale * distance)
        return batch, {"charts/distance": distance.mean()}

    return updates.stateless(apply)


@click.command(help=__doc__.splitlines()[0])
@click.option("--num-seeds", default=8, show_default=True, help="Trained in one program.")
@click.option("--total-env-steps", default=150_000, show_default=True, help="Of each seed.")
@click.option("--out", default="curve.png", show_default=True, type=click.Path(path_type=Path))
def main(num_seeds, total_env_steps, out):
    """Train all seeds, evaluate them ten times on the way, and draw the curve."""
    agent = rljax.ppo(
        rljax.make("CartPole-v1"),
        network=Net(),
        first=stay_central(0.1),
        num_envs=8,
        rollout_length=64,
        total_env_steps=total_env_steps,
        hparams=rljax.ppo.Hparams(lr=1e-3),
    )
    population = rljax.vmap(agent)
    play = episodes(population, num_episodes=32)

    def evaluate(state, row):
        returns = play(state, jax.random.key(row["iteration"])).returns.mean(axis=1)
        print(f"{row['env_steps']:>9,} steps:", *(f"{x:6.1f}" for x in returns))
        return {"return": returns}

    keys = jax.random.split(jax.random.key(0), num_seeds)
    tenth = -(-agent.num_iterations // 10)
    _, history = rljax.train(population, keys, hooks=[evaluate], chunk_iterations=tenth)

    figure = Figure(layout="constrained")
    axes = figure.subplots(subplot_kw={"xlabel": "environment steps", "ylabel": "return"})
    axes.plot(history["env_steps"], history["return"], color="silver")
    middle = statistics.central(history["return"][..., None])
    axes.plot(history["env_steps"], middle, linewidth=3)
    axes.set_title(f"{num_seeds} seeds, and their {statistics.central_name(num_seeds)}")
    plots.save(figure, out)


if __name__ == "__main__":
    main()
