"""All rows: fixed work, the libraries that can do it, and the result that it must reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.work import (
    LAKE,
    REJAX_DQN,
    REJAX_PPO,
    SPREAD,
    WIDE,
    Work,
    control,
    dqn,
    impala,
    ippo,
    ppo,
    qmix,
    r2d2,
    replay,
    rollouts,
    training,
    variants,
)
from rljax.errors import UsageError, check_known, nearest


@dataclass(frozen=True)
class Row:
    """A fixed piece of work."""

    name: str
    suite: str
    work: Work
    least: float
    """The lowest result at which the speed of a side counts."""
    most: float = math.inf
    """The highest result at which it counts, if the right result is known."""
    unit: str = "steps/s"
    """Of a rate (steps are environment steps), or "s" for a duration, where less is better."""
    peers: tuple[str, ...] = ()
    """The libraries that can do the same work."""
    curve: tuple[str, int] | None = None
    """What grows from row to row, and its size in this row."""


CARTPOLE, BREAKOUT, SEAQUEST = "CartPole-v1", "Breakout-MinAtar", "Seaquest-MinAtar"
INVERTED_PENDULUM = "brax/inverted_pendulum"
LEARNT = 100.0  # CartPole, of at most 500; a random policy has 22
BEGUN = 30.0  # the same, after a few thousand steps
SMALL = ppo(4, 128, 976)
SPREAD_OUT = -72.0  # simple_spread, summed over agents
SPREADING = -76.0  # the same, after 40,000 steps
NOT_FAR = -200.0  # the same of a short training by QMIX, which had -161 after 40,000 steps
SWINGS = -600.0  # Pendulum; a random policy has -1,200, and a good one -150
RANDOM = {
    CARTPOLE: 22.3,
    BREAKOUT: 0.412,
    SEAQUEST: 0.095,
    SPREAD: -79.6,
    INVERTED_PENDULUM: 5.79,
}  # the mean return of random actions

ROWS = [
    *(
        Row(
            f"rollout {env.split('-')[0]} {envs}",
            "rollout",
            rollouts(env, envs, count),
            0.95 * RANDOM[env],
            1.05 * RANDOM[env],
            peers=("gymnax",),
        )
        for env, count in ((CARTPOLE, 300), (BREAKOUT, 60))
        for envs in (64, 2048)
    ),
    Row("ppo 4x128", "ppo", SMALL, LEARNT, peers=("purejaxrl",)),
    Row("ppo 64x128", "ppo", ppo(64, 128, 122), LEARNT, peers=("purejaxrl",)),
    Row("ppo 512x32", "ppo", ppo(512, 32, 61), LEARNT, peers=("purejaxrl",)),
    Row(
        "ppo 2048x32",
        "ppo",
        ppo(2048, 32, 30, num_minibatches=16),
        LEARNT,
        peers=("purejaxrl",),
    ),
    Row(
        "ppo Breakout 64x128",
        "ppo",
        ppo(64, 128, 61, num_minibatches=8, lr=5e-3, activation="relu", env=BREAKOUT),
        5.0,
        peers=("purejaxrl",),
    ),
    Row("ppo rejax", "ppo", REJAX_PPO, LEARNT, peers=("rejax",)),
    Row("ppo 4x128 short", "ppo", ppo(4, 128, 60), 40.0, peers=("sb3", "sbx", "rllib")),
    *(
        Row(
            f"arithmetic {minibatches} of {8192 // minibatches:,}",
            "ppo",
            ppo(64, 128, 8, hidden=[256, 256], num_minibatches=minibatches, lr=1e-3) | WIDE,
            BEGUN,
            unit="GFLOP/s",
        )
        for minibatches in (1, 4)
    ),
    Row(
        "simulator ppo 8x128",
        "simulators",
        ppo(8, 128, 98, env=f"gymnasium/{CARTPOLE}"),
        40.0,
        peers=("sb3", "rllib"),
    ),
    Row(
        "simulator impala 16x16",
        "simulators",
        impala(2, 16, 16, 800),
        LEARNT,
        peers=("rllib",),
    ),
    Row("dqn 10", "dqn", dqn(10, 200_000), 60.0, peers=("purejaxrl",)),
    Row("dqn 128", "dqn", dqn(128, 2_000_000 // 128 * 128), 60.0, peers=("purejaxrl",)),
    Row("dqn rejax", "dqn", REJAX_DQN, 60.0, peers=("rejax",)),
    *(
        Row(
            f"{agent} 1",
            "control",
            control(agent, 5_000),
            SWINGS,
            peers=("rejax", "sbx", "sb3"),
        )
        for agent in ("sac", "td3")
    ),
    *(
        Row(
            f"seeds 16 of {agent} 1",
            "control",
            control(agent, 5_000, seeds=16),
            SWINGS,
            peers=("rejax", "sbx"),
        )
        for agent in ("sac", "td3")
    ),
    Row(
        "sac 128",
        "control",
        control("sac", 128 * 1000, num_envs=128, updates=8),
        SWINGS,
        peers=("rejax", "jax"),
    ),
    *(
        Row(
            f"rollout inverted_pendulum {envs}",
            "control",
            rollouts(INVERTED_PENDULUM, envs, count, backend="generalized"),
            0.95 * RANDOM[INVERTED_PENDULUM],
            1.05 * RANDOM[INVERTED_PENDULUM],
            peers=("brax",),
        )
        for envs, count in ((64, 10), (1024, 20))
    ),
    *(
        Row(
            f"ppo gru {envs}x128",
            "memory",
            ppo(envs, 128, iterations, network="gru", hidden=[128], activation="relu", lr=1e-3),
            LEARNT,
            peers=("purejaxrl",),
        )
        for envs, iterations in ((4, 400), (64, 90))
    ),
    Row("r2d2 16", "memory", r2d2(400), 40.0, peers=("jax",)),
    *(
        Row(
            f"min_gru {length}",
            "memory",
            variants(
                ppo(16, length, 40_960 // length, network="min_gru", hidden=[64], lr=2e-3),
                gru={"network": "gru"},
            ),
            BEGUN,
        )
        for length in (128, 1024)
    ),
    Row(
        "rnd Breakout 64x128",
        "memory",
        variants(
            ppo(
                64,
                128,
                30,
                num_minibatches=8,
                lr=5e-3,
                activation="relu",
                env=BREAKOUT,
                curiosity="rnd",
            ),
            plain={"curiosity": "none"},
        ),
        RANDOM[BREAKOUT],
    ),
    *(
        Row(
            f"rollout Seaquest {envs}",
            "memory",
            rollouts(SEAQUEST, envs, 20),
            0.85 * RANDOM[SEAQUEST],
            1.15 * RANDOM[SEAQUEST],
            peers=("gymnax",),
        )
        for envs in (64, 1024)
    ),
    *(
        Row(
            f"rollout spread {envs}",
            "agents",
            rollouts(SPREAD, envs, 60) | {"peer_env_steps": 20_000},
            1.08 * RANDOM[SPREAD],
            0.92 * RANDOM[SPREAD],
            peers=("jaxmarl", "pettingzoo"),
        )
        for envs in (64, 2048)
    ),
    *(
        Row(
            f"ippo {envs}x{length}",
            "agents",
            ippo(envs, length, iterations, lr),
            SPREAD_OUT,
            peers=("jaxmarl",),
        )
        for envs, length, iterations, lr in ((16, 128, 150, 1e-3), (256, 25, 100, 2e-3))
    ),
    Row(
        "ippo 16x128 short",
        "agents",
        ippo(16, 128, 20, 1e-3) | {"agents": 3},
        SPREADING,
        peers=("sb3",),
    ),
    Row("qmix 8", "agents", qmix(8, 500, 4), NOT_FAR, peers=("jaxmarl",)),
    *(
        Row(
            f"agent axis {envs}x{length}",
            "agents",
            ippo(envs, length, iterations, lr) | {"kind": "axis", "runs": 5},
            0.1,
            unit="agent steps/s",
        )
        for envs, length, iterations, lr in ((16, 128, 50, 1e-3), (256, 25, 50, 2e-3))
    ),
    Row("tabular lake", "tabular", LAKE, 0.65, peers=("gymnasium", "python")),
    Row(
        "seeds 8 of ppo 4x128",
        "seeds",
        ppo(4, 128, 390, seeds=8),
        LEARNT,
        peers=("purejaxrl",),
    ),
    *(
        Row(
            f"replay {'prioritized' if prioritized else 'uniform'} {name}",
            "replay",
            replay(size, prioritized),
            1.0,
            1.0,
            unit="cycles/s",
            peers=("flashbax",),
        )
        for prioritized in (False, True)
        for name, size in (("10k", 10_000), ("1M", 1_000_000))
    ),
    Row(
        "compile ppo 4x128",
        "compile",
        ppo(4, 128, 100, measure="compiling"),
        60.0,
        unit="s",
        peers=("purejaxrl",),
    ),
    Row(
        "compile dqn 10",
        "compile",
        dqn(10, 100_000, measure="compiling"),
        25.0,
        unit="s",
        peers=("purejaxrl",),
    ),
    Row(
        "start",
        "compile",
        training("ppo", 150_000, {"num_envs": 8, "rollout_length": 64}, {"lr": 2e-3})
        | {"kind": "start"},
        1.0,
        unit="s",
    ),
    Row(
        "pmap ppo 64x128",
        "devices",
        ppo(64, 128, 49) | {"kind": "spreading", "runs": 6},
        LEARNT,
    ),
    Row("pmap dqn 10", "devices", dqn(10, 60_000) | {"kind": "spreading", "runs": 6}, 25.0),
    *(
        Row(
            f"growth seeds {seeds}",
            "growth",
            ppo(4, 128, 16, seeds=seeds, lr=2e-3),
            BEGUN,
            curve=("seeds", seeds),
        )
        for seeds in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    ),
    *(
        Row(
            f"growth environments {envs:,}",
            "growth",
            ppo(envs, 32, iterations, lr=lr),
            BEGUN,
            curve=("environments", envs),
        )
        for envs, iterations, lr in (
            (1, 640, 5e-4),
            (4, 400, 1e-3),
            (16, 200, 1e-3),
            (64, 100, 2e-3),
            (256, 50, 2e-3),
            (1_024, 25, 4e-3),
            (4_096, 12, 8e-3),
            (16_384, 6, 1e-2),
        )
    ),
    *(
        Row(
            f"growth width {width:,}",
            "growth",
            ppo(64, 128, iterations, hidden=[width, width], lr=1e-3),
            BEGUN,
            curve=("width", width),
        )
        for width, iterations in ((32, 40), (64, 40), (128, 20), (256, 12), (512, 6), (1024, 4))
    ),
    *(
        Row(
            f"growth devices {devices}",
            "growth",
            ppo(64, 128, 49, devices=devices),
            LEARNT,
            curve=("devices", devices),
        )
        for devices in (1, 2, 4)
    ),
    *(
        Row(
            f"rollout {env.split('-')[0]} 16384",
            "accelerator",
            rollouts(env, 16_384, 100, steps=32 * 16_384),
            0.95 * RANDOM[env],
            1.05 * RANDOM[env],
            peers=("gymnax",),
        )
        for env in (CARTPOLE, BREAKOUT)
    ),
    Row(
        "ppo 16384x32",
        "accelerator",
        ppo(16_384, 32, 20, num_minibatches=64, lr=1e-3),
        LEARNT,
        peers=("purejaxrl",),
    ),
    Row(
        "ppo Breakout 4096x32",
        "accelerator",
        ppo(4096, 32, 40, num_minibatches=32, lr=5e-3, activation="relu", env=BREAKOUT),
        5.0,
        peers=("purejaxrl",),
    ),
    Row(
        "seeds 256 of ppo 4x128",
        "accelerator",
        ppo(4, 128, 390, seeds=256),
        LEARNT,
        peers=("purejaxrl",),
    ),
]
SUITES = [*dict.fromkeys(row.suite for row in ROWS)]
NOT_BY_DEFAULT = ("growth", "accelerator")  # They take long on a CPU.


def chosen(suites: Sequence[str], names: Sequence[str]) -> list[Row]:
    """The rows of these suites that are called by a name, or have a part of it in theirs.

    A name that is exactly a row's stands for that row alone. Without names, these are all rows of
    the suites; without suites too, all rows but those of `NOT_BY_DEFAULT`. Raises UsageError for a
    suite that is not known, and for a name that fits no row.
    """
    for suite in suites:
        check_known("suite", suite, SUITES)
    rows = [row for row in ROWS if not suites or row.suite in suites]
    for name in names:
        if not any(name in row.name for row in rows):
            where = f" of suite {' or '.join(suites)}" if suites else ""
            known = [row.name for row in rows]
            raise UsageError(f"row {name!r}{where} is not known{nearest(name, known)}")
    if not names:
        return rows if suites else [row for row in rows if row.suite not in NOT_BY_DEFAULT]
    exact = {row.name for row in rows} & {*names}
    parts = {*names} - exact
    return [row for row in rows if row.name in exact or any(part in row.name for part in parts)]
