"""From a run to a smaller one: distil, then prune, then quantise."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.agents.distillation import Hparams, acting_parameters, distill, with_params
from rljax.compression import measuring, showing
from rljax.envs.simulators import on_host
from rljax.errors import RunError, UsageError, check_count, check_known, check_positive
from rljax.experiments import directory, experiment, metrics
from rljax.experiments.checkpoints import Checkpoints
from rljax.experiments.config import Config
from rljax.experiments.hooks import evaluation_key, evaluation_row
from rljax.networks import RunningStatistics, quantized_weights, without_dead_units
from rljax.networks.quantization import levels
from rljax.statistics import central, interval
from rljax.training.evaluation import Evaluation, episodes
from rljax.training.rows import plain
from rljax.types import Agent, Params, State

ROWS = 20  # of metrics.jsonl, for each training


@dataclass(frozen=True)
class Settings:
    """How to compress; each way is left out by default."""

    student: tuple[int, ...] | None = None
    """Sizes of the dense layers of a new, smaller network that learns from the old one."""
    prune: float = 0.0
    """The fraction of the weights that are set to zero."""
    prune_units: float = 0.0
    """The fraction of the units of each hidden layer that are taken out."""
    scope: str = "global"
    """Whether weights are compared "global" or within each "layer"."""
    bits: int | None = None
    """Of each weight, with a scale for each output channel; None for float32."""
    aware: bool = False
    """Whether the network learns with rounded weights before they are rounded for good."""
    env_steps: int = 500_000
    """Environment steps of each training: of the student, with pruning, and with rounding."""
    temperature: float = 1.0
    """What the teacher's logits are divided by."""
    episodes: int = 64
    """Of each evaluation, for each seed."""
    seed: int = 0
    """Of the trainings."""

    def __post_init__(self) -> None:
        check_positive(env_steps=self.env_steps, episodes=self.episodes)
        check_count(seed=self.seed)
        check_known("scope", self.scope, ("global", "layer"))
        for name in ("prune", "prune_units"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(
                    f"{name} must be at least 0 and below 1, not {getattr(self, name):g}"
                )
        if self.student is not None:
            for size in self.student or (0,):
                check_positive(student=size)
        if self.bits is not None:
            levels(self.bits)
        if self.aware and self.bits is None:
            raise UsageError("aware is for rounded weights: give bits, too")
        if self.prune and self.prune_units:
            raise UsageError("prune weights or units, not both at once")
        if self.student is None and not (self.prune or self.prune_units) and self.bits is None:
            raise UsageError("there is nothing to do: ask for a student, pruning or bits")


@dataclass(frozen=True)
class Stage:
    """A policy on the way: of each seed its parameters, and the agent that acts with them."""

    name: str
    config: Config
    params: Params  # leaves lead with the seeds


def compress(
    run: str | Path,
    out: str | Path,
    settings: Settings,
    command: Sequence[str] = (),
    report: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Compress the policy of a run's latest checkpoint into a new run directory.

    The new run has the teacher's agent, with other sizes of its network where those change, so it
    is evaluated, played and exported as any other. Its value function is not trained.

    Args:
        run: the teacher's run directory, of one seed or several.
        out: the new run directory, which must not exist.
        settings: what to do.
        command: what was typed, to be kept with the run.
        report: told, in a sentence, what happens.

    Returns what is in the file compression.json of the new run.

    Raises RunError for a run that is missing or damaged, or a directory that exists; UsageError
    for what its agent cannot do.
    """
    found = directory.find(run)
    if Path(out).exists():
        raise RunError(f"{out} exists already: choose another --out")
    config = found.load_config()
    agent, state = experiment.load(run)
    seeds = config.top.num_seeds
    teacher = config.agent()
    _check(config, teacher)
    smaller = _resized(config, settings.student) if settings.student else config
    states = replace(state, worker=None)  # type: ignore[arg-type]
    if seeds == 1:
        states = jax.tree.map(lambda x: x[None], states)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), 0xC0), (3, seeds))
    rows: list[dict[str, Any]] = []
    stages = [Stage("teacher", config, states.learner.params)]
    if settings.prune_units:
        _without_dead_units(config, stages[0].params, seeds)  # Refuses what has no such units.
    measured = [_measured(stages[0], settings, report)]

    def train(student: Agent, params: Params | None, turn: int, **ways: Any) -> Params:
        return _train(student, (teacher, states), params, keys[turn], settings, rows, ways)

    def add(name: str, config: Config, params: Params) -> None:
        stages.append(Stage(name, config, params))
        measured.append(_measured(stages[-1], settings, report))

    if settings.student is not None:
        student = smaller.agent()
        fresh = jax.jit(jax.vmap(lambda key: student.init(key).learner.params))(keys[0])
        start = _with_statistics_of(states.learner.params, fresh)
        _warn_of_larger(student, fresh, teacher, states, report)
        name = f"student {','.join(map(str, settings.student))}"
        add(name, smaller, train(student, start, 0))
    if settings.prune or settings.prune_units:
        last, units = stages[-1], bool(settings.prune_units)
        sparsity = settings.prune_units if units else settings.prune
        params = train(
            last.config.agent(),
            last.params,
            1,
            prune="units" if units else "weights",
            scope=settings.scope,
            sparsity=sparsity,
        )
        resized = last.config
        if units:
            resized, params = _without_dead_units(last.config, params, seeds)
        add(f"pruned {sparsity:.0%}{' of units' if units else ''}", resized, params)
    if settings.bits is not None:
        last, params = stages[-1], stages[-1].params
        if settings.aware:
            params = train(last.config.agent(), params, 2, bits=settings.bits, **_masked(settings))
        params = jax.vmap(lambda params: quantized_weights(params, settings.bits or 8))(params)
        add(f"{settings.bits} bits", last.config, params)

    figures = [of for of, _ in measured]
    for of in figures:
        of["kept"] = _kept(figures[0], of)
    summary = {
        "run": str(run),
        "settings": asdict(settings),
        "environment": config.top.env,
        "agent": config.top.agent,
        "stages": figures,
    }
    _write(Path(out), stages[-1], measured[-1][1], rows, summary, command, settings)
    return summary


def _check(config: Config, teacher: Agent) -> None:
    name = config.top.agent
    if on_host(teacher.env):
        raise UsageError(
            f"{config.top.env} is a simulator of the host: only policies for environments in JAX "
            "are compressed"
        )
    if teacher.distribution is None:
        raise UsageError(f"{name} has neither a policy nor action values that could be compressed")


def _masked(settings: Settings) -> dict[str, Any]:
    """Keep what is pruned at zero while the network learns with rounded weights."""
    if not settings.prune:
        return {}
    ways = {"prune": "weights", "scope": settings.scope, "sparsity": settings.prune}
    return {**ways, "prune_begin": 0.0, "prune_end": 0.0}


def _resized(config: Config, hidden: Sequence[int], **others: Any) -> Config:
    if "hidden" not in config.structure:
        raise UsageError(f"{config.top.agent} has no setting hidden, so it can have no student")
    values = {"structure.hidden": tuple(hidden)}
    values |= {f"structure.{name}": value for name, value in others.items()}
    return config.varied(values, "rljax compress")


def _with_statistics_of(teacher: Params, student: Params) -> Params:
    """The student's parameters with the teacher's statistics of observations, where it has some."""

    def is_statistics(node: Any) -> bool:
        return isinstance(node, RunningStatistics)

    known = dict(
        (jax.tree_util.keystr(path), node)
        for path, node in jax.tree_util.tree_leaves_with_path(teacher, is_leaf=is_statistics)
        if is_statistics(node)
    )
    return jax.tree_util.tree_map_with_path(
        lambda path, node: known.get(jax.tree_util.keystr(path), node),
        student,
        is_leaf=is_statistics,
    )


def _warn_of_larger(
    student: Agent, fresh: Params, teacher: Agent, states: State, report: Callable[[str], None]
) -> None:
    sizes = [
        _size(agent, _of_seed(params, 0))
        for agent, params in ((student, fresh), (teacher, states.learner.params))
    ]
    if sizes[0] > sizes[1]:
        report(
            f"warning: the student has {sizes[0]:,} parameters, more than its teacher, which has "
            f"{sizes[1]:,}"
        )


def _of_seed(tree: Any, seed: int) -> Any:
    """Leaves [seeds, ...] to those of one seed."""
    return jax.tree.map(lambda x: x[seed], tree)


def _size(agent: Agent, params: Params) -> int:
    acts = jax.tree.leaves(acting_parameters(agent, params))
    return sum(np.size(x) for x, used in zip(jax.tree.leaves(params), acts, strict=True) if used)


def _train(
    student: Agent,
    taught: tuple[Agent, State],
    params: Params,
    keys: Any,
    settings: Settings,
    rows: list[dict[str, Any]],
    ways: dict[str, Any],
) -> Params:
    """Train each seed's student with its own teacher; adds rows of metrics."""
    teacher, states = taught
    numbers = {name: ways.pop(name) for name in list(ways) if hasattr(Hparams, name)}
    hparams = Hparams(temperature=settings.temperature, **numbers)

    @jax.jit
    def run(state: State, params: Params, key: Any):
        agent = distill(
            student,
            [(teacher, state)],
            params=params,
            total_env_steps=settings.env_steps,
            hparams=hparams,
            **ways,
        )
        last, history = jax.lax.scan(
            lambda state, _: agent.step(state), agent.init(key), None, agent.num_iterations
        )
        return last.learner.params, history

    done = [
        run(*(_of_seed(tree, seed) for tree in (states, params, keys)))
        for seed in range(keys.shape[0])
    ]
    _add_rows(rows, [jax.device_get(history) for _, history in done], settings)
    return jax.tree.map(lambda *x: jnp.stack(x), *(params for params, _ in done))


def _add_rows(
    rows: list[dict[str, Any]], histories: list[dict[str, np.ndarray]], settings: Settings
) -> None:
    """A few rows from the metrics [iterations] of each seed's training, behind those there are."""
    before = rows[-1] if rows else {"iteration": 0, "env_steps": 0}
    iterations = len(next(iter(histories[0].values())))
    names = [
        name
        for name in histories[0]
        if name.startswith("losses/") or name in ("charts/sparsity", metrics.TRAINING)
    ]
    for part in np.array_split(np.arange(iterations), min(ROWS, iterations)):
        done = int(part[-1]) + 1
        row: dict[str, Any] = {
            "iteration": before["iteration"] + done,
            "env_steps": before["env_steps"] + settings.env_steps * done // iterations,
        }
        for name in names:
            values = np.array([history[name][part] for history in histories], np.float64)
            known = np.isfinite(values)
            means = np.divide(
                np.where(known, values, 0).sum(1),
                known.sum(1),
                out=np.full(len(values), np.nan),
                where=known.any(1),
            )
            row[name] = plain(means if len(histories) > 1 else means[0])
        rows.append(row)


def _without_dead_units(config: Config, params: Params, seeds: int) -> tuple[Config, Params]:
    """The config and the parameters of networks that are really smaller."""
    taken = [
        without_dead_units(_of_seed(params, seed), "MLP_0", "Outputs_0") for seed in range(seeds)
    ]
    sizes = {left for _, left in taken}
    if len(sizes) > 1:
        raise UsageError(
            f"seeds have different numbers of units left, {sorted(sizes)}: compress them one by one"
        )
    others = {}
    if "critic_hidden" in config.structure:
        others["critic_hidden"] = config.structure["critic_hidden"] or config.structure["hidden"]
    resized = _resized(config, sizes.pop(), **others)
    stacked = jax.tree.map(lambda *x: jnp.stack(list(map(jnp.asarray, x))), *(p for p, _ in taken))
    student = resized.agent()
    wanted = jax.eval_shape(student.init, jax.random.key(0)).learner.params
    if jax.tree.map(lambda x: x.shape[1:], stacked) != jax.tree.map(lambda x: x.shape, wanted):
        raise UsageError(
            f"the units of {config.top.agent}'s network cannot be taken out: prune its weights, or "
            "give it a student"
        )
    return resized, stacked


def _measured(
    stage: Stage, settings: Settings, report: Callable[[str], None]
) -> tuple[dict[str, Any], Evaluation]:
    """What a stage is worth and costs, and its evaluation [seeds, episodes]."""
    agent = stage.config.agent()
    play = episodes(agent, settings.episodes)
    key = evaluation_key(stage.config.top.seed)
    found = []
    seeds = jax.tree.leaves(stage.params)[0].shape[0]
    for seed in range(seeds):
        state = with_params(agent, _of_seed(stage.params, seed))
        found.append(jax.device_get(play(state, jax.random.fold_in(key, seed))))
    evaluation = jax.tree.map(lambda *x: np.stack(x), *found)
    scores = np.asarray(evaluation.returns, np.float64).mean(1)[:, None]
    bounds = interval(central, scores)
    first = with_params(agent, _of_seed(stage.params, 0))
    first = replace(first, worker=jax.eval_shape(agent.init, jax.random.key(0)).worker)
    result = {
        "name": stage.name,
        "returns": {
            "mean": float(scores.mean()),
            "interval": None if bounds is None else [float(b) for b in bounds],
            "seeds": scores[:, 0].tolist(),
        },
        **measuring.cost(agent, first),
    }
    report(
        f"{stage.name}: return {result['returns']['mean']:.2f}, {result['nonzero']:,} of "
        f"{result['parameters']:,} parameters are not 0, {result['bytes']:,} bytes"
    )
    return result, evaluation


def _kept(teacher: dict[str, Any], stage: dict[str, Any]) -> dict[str, Any]:
    """The part of the teacher's mean return that is kept, and its interval over seeds.

    What is lost is the mean difference, as a part of the size of the teacher's mean, which may be
    negative. None where that is 0.
    """
    before, after = (np.array(of["returns"]["seeds"]) for of in (teacher, stage))
    size = abs(before.mean())
    if size == 0:
        return {"mean": None, "interval": None}
    parts = 1 + (after - before)[:, None] / size
    bounds = interval(central, parts)
    return {
        "mean": float(parts.mean()),
        "interval": None if bounds is None else [float(b) for b in bounds],
    }


def _write(
    out: Path,
    stage: Stage,
    evaluation: Evaluation,
    rows: list[dict[str, Any]],
    summary: dict[str, Any],
    command: Sequence[str],
    settings: Settings,
) -> None:
    """The new run directory."""
    config = stage.config
    if rows:
        top = replace(config.top, total_env_steps=rows[-1]["env_steps"])
        config = replace(config, top=top)
    agent = experiment.build(config, spread=False)
    state = jax.jit(agent.init)(experiment.keys(config))
    params = stage.params
    if config.top.num_seeds == 1:
        params, evaluation = _of_seed((params, evaluation), 0)
    last = jnp.full_like(state.iteration, agent.num_iterations)
    state = replace(state, iteration=last, learner=replace(state.learner, params=params))
    run = directory.create(out, config, command)
    for row in rows:
        share = row["iteration"] / rows[-1]["iteration"]
        metrics.append(run.metrics, {**row, "iteration": round(share * agent.num_iterations)})
    steps = agent.env_steps(agent.num_iterations)
    metrics.append(
        run.metrics,
        {"iteration": agent.num_iterations, "env_steps": steps, **evaluation_row(evaluation)},
    )
    described = json.dumps(evaluation.summary(steps)) + "\n"
    directory.write_atomically(run.evaluation, described)
    directory.write_atomically(run.compression, json.dumps(summary, indent=2) + "\n")
    checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep)
    checkpoints.save(state, float(np.mean(evaluation.returns)))
    checkpoints.close()
    showing.draw(summary, run.compression_plot)
