"""Distillation: a student learns to act as its teachers do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rljax import networks
from rljax.agents.assembly import check_hparams, on_policy
from rljax.agents.schedule import Schedule
from rljax.envs.simulators import on_host
from rljax.envs.spaces import describe
from rljax.errors import UsageError, check_known
from rljax.hparams import fraction, non_negative, positive
from rljax.networks.jaxprs import read
from rljax.networks.quantization import kernels
from rljax.types import Actor, Agent, Batch, Carry, Key, Learner, Obs, Params, State, Update
from rljax.updates import (
    chain,
    clipped_adam,
    cubic_sparsity,
    distillation_loss,
    epochs,
    gradient,
    learning_rate,
    pruning,
)
from rljax.updates.distillation import divergence, recordable


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hparams:
    """The hyperparameters of a distillation."""

    lr: float = non_negative(2e-3)
    """Adam's learning rate (at the start, where it is annealed)."""
    max_grad_norm: float = positive(1.0)
    """The global norm at which gradients are clipped."""
    adam_eps: float = non_negative(1e-5)
    """Adam's denominator offset."""
    temperature: float = positive(1.0)
    """What the teachers' logits are divided by. Below 1 for action values, say 0.1."""
    teacher_share: float = fraction(0.0)
    """How likely the first teacher acts in a step of a rollout: 0 is DAgger, 1 plain imitation."""
    sparsity: float = fraction(0.0)
    """The fraction of weights, or units, that are zero in the end, with `prune`."""
    prune_begin: float = fraction(0.1)
    """The progress at which pruning begins."""
    prune_end: float = fraction(0.6)
    """The progress at which it ends; after that the rest goes on learning."""


def distill(
    student: Agent,
    teachers: Sequence[tuple[Agent, State]],
    *,
    params: Params | None = None,
    num_envs: int = 64,
    rollout_length: int = 32,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    total_env_steps: int = 500_000,
    schedule_env_steps: int | None = None,
    sequence_length: int | None = None,
    anneal_lr: bool = True,
    prune: str = "none",
    scope: str = "global",
    bits: int | None = None,
    hparams: Hparams | None = None,
) -> Agent:
    """An agent whose parameters are those of `student`, and which learns to act as teachers do.

    It collects experience in the environment of the student, in which both act, and records what
    each teacher would do. Rewards play no part. What it learns are the parameters that the
    student's actions depend on; a value function beside them stays as it is.

    >>> import jax, rljax
    >>> env = rljax.make("CartPole-v1")
    >>> teacher = rljax.ppo(env, total_env_steps=1000)
    >>> state = teacher.init(jax.random.key(0))
    >>> small = rljax.ppo(env, hidden=(8, 8), total_env_steps=1000)
    >>> agent = rljax.distill(small, [(teacher, state)], num_envs=8, total_env_steps=1000)
    >>> learnt, metrics = jax.jit(agent.step)(agent.init(jax.random.key(1)))
    >>> float(metrics["losses/distillation_loss"]) < 0.1
    True

    Args:
        student: the agent, such as one with a smaller network.
        teachers: agents with their states, of the same observations and actions; the student
            learns the mean of their distributions.
        params: what the student begins with; by default its own fresh parameters.
        num_envs: environments N stepped side by side.
        rollout_length: steps T of each between updates.
        num_epochs: passes over each batch [T, N].
        num_minibatches: parts of a batch, one gradient step each.
        total_env_steps: how long to train, over all environments; rounded up to whole iterations.
        schedule_env_steps: environment steps over which schedules run; by default all.
        sequence_length: steps L that a minibatch keeps together; by default `rollout_length` for
            a student with memory, else 1.
        anneal_lr: whether the learning rate falls to 0 over the schedule, linearly.
        prune: "weights" or hidden "units" that are set to zero on the way, or "none"; see
            `updates.pruning`.
        scope: of weights: "global" or "layer". Units are compared within their layer.
        bits: of the weights with which the student acts and learns, see
            `networks.quantized_weights`; None for float32.
        hparams: the hyperparameters; `Hparams()` by default.

    Raises:
        UsageError: for a student or a teacher without a distribution, or of different kinds of
            actions, a simulator of the host, and counts that do not fit.

    Source: Rusu et al. 2016, https://arxiv.org/abs/1511.06295; the student's own rollouts: Ross et
    al. 2011, algorithm 3.1, https://arxiv.org/abs/1011.0686.
    """
    hparams = check_hparams(hparams, Hparams, "distill")
    schedule = Schedule(
        num_envs=num_envs,
        rollout_length=rollout_length,
        total_env_steps=total_env_steps,
        schedule_env_steps=schedule_env_steps,
    )
    _check(student, teachers)
    check_known("prune", prune, ("none", "weights", "units"))
    last = (schedule.num_iterations - 1) * schedule.env_steps_per_iteration / schedule.horizon
    if prune != "none" and last < hparams.prune_end:
        raise UsageError(
            f"pruning ends at prune_end = {hparams.prune_end:g} of the run, and its last iteration "
            f"begins at {last:.2g}: make total_env_steps larger than {total_env_steps:,}"
        )
    if sequence_length is None:
        has_memory = bool(jax.tree.leaves(jax.eval_shape(lambda: student.initial_carry((1,)))))
        sequence_length = rollout_length if has_memory else 1

    def begin(key: Key) -> Params:
        if params is None:
            return student.init(key).learner.params
        return jax.tree.map(jnp.array, params)  # A copy, because a state may be donated.

    def used(params: Params) -> Params:
        return params if bits is None else networks.quantized_weights(params, bits)

    def distribution(params: Params, obs: Obs, carry: Carry):
        assert student.distribution is not None
        return student.distribution(with_params(student, used(params)), obs, carry)

    def act(params: Params, obs: Obs, carry: Carry, key: Key | None):
        return student.act(with_params(student, used(params)), obs, carry, key)

    def policy(hp: Hparams, progress: jax.Array):
        def choose(params: Params, obs: Obs, carry: tuple[Carry, tuple[Carry, ...]], key: Key):
            mine, theirs = carry
            key_student, key_teacher, key_who = jax.random.split(key, 3)
            action, mine = act(params, obs, mine, key_student)
            first, state = teachers[0]
            shown, _ = first.act(state, obs, theirs[0], key_teacher)
            found = [
                teacher.distribution(state, obs, inner)  # type: ignore[misc]
                for (teacher, state), inner in zip(teachers, theirs, strict=True)
            ]
            shows = jax.random.bernoulli(key_who, hp.teacher_share, action.shape[:1])
            shows = shows.reshape(-1, *[1] * (action.ndim - 1))
            recorded = {"teachers": tuple(recordable(each) for each, _ in found)}
            carries = tuple(after for _, after in found)
            return jnp.where(shows, shown, action), recorded, (mine, carries)

        return choose

    def of_student(choice: Callable[[Params, Obs, Carry], tuple[Any, Carry]]):
        def chosen(params: Params, obs: Obs, carry: tuple[Carry, tuple[Carry, ...]]):
            found, mine = choice(params, obs, carry[0])
            return found, (mine, carry[1])

        return chosen

    def unrolled(params: Params, batch: Batch) -> Any:
        def apply(params: Params, obs: Obs, carry: Carry, key: Key | None):
            found, carry = distribution(params, obs, carry)
            return recordable(found), carry

        net = networks.Network(student.init, apply, student.initial_carry)
        carry = networks.of_first_row(batch.extras["carry"][0])
        return networks.unroll(net, params, batch.obs, carry, batch.done)[0]

    def prunable(params: Params) -> Any:
        acting = acting_parameters(student, params)
        chosen = networks.hidden_kernels("MLP_0") if prune == "units" else kernels
        return jax.tree.map(lambda a, b: a and b, acting, chosen(params))

    def update(hp: Hparams, progress: jax.Array) -> Update:
        lr = learning_rate(hp.lr, progress, anneal_lr)
        optimizer = clipped_adam(lr, hp.max_grad_norm, hp.adam_eps)
        sparsity = cubic_sparsity(hp.sparsity, progress, hp.prune_begin, hp.prune_end)
        units = prune == "units"
        zeros = pruning(sparsity, "layer" if units else scope, prunable, units)
        fit = chain(
            gradient(distillation_loss(unrolled, hp.temperature), optimizer),
            zeros if prune != "none" else None,
        )
        return epochs(fit, num_epochs, num_minibatches, sequence_length)

    actor = Actor(
        init=begin,
        policy=policy,
        mode=lambda hparams: of_student(lambda params, obs, carry: act(params, obs, carry, None)),
        initial_carry=lambda leading: (
            student.initial_carry(leading),
            tuple(teacher.initial_carry(leading) for teacher, _ in teachers),
        ),
        distribution=of_student(distribution),
    )
    return on_policy(student.env, actor=actor, update=update, hparams=hparams, schedule=schedule)


distill.Hparams = Hparams  # type: ignore[attr-defined]


def with_params(agent: Agent, params: Params) -> State:
    """A state with these parameters, for `agent.act` and `agent.distribution` alone.

    Schedules, such as that of an exploration, are at their end.
    """
    return State(
        iteration=jnp.int32(agent.num_iterations),
        key=jax.random.key(0),
        hparams=jax.tree.map(jnp.float32, agent.hparams),
        learner=Learner(params, ()),
        worker=None,  # type: ignore[arg-type]
    )


def acting_parameters(agent: Agent, params: Params) -> Any:
    """A tree of bools like the parameters: whether an agent's actions depend on each leaf."""
    obs = jax.eval_shape(agent.init, jax.random.key(0)).worker.obs
    carry = jax.eval_shape(lambda: agent.initial_carry(jax.tree.leaves(obs)[0].shape[:1]))

    def chosen(params: Params, obs: Obs, carry: Carry):
        assert agent.distribution is not None
        return recordable(agent.distribution(with_params(agent, params), obs, carry)[0])

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), params)
    return read(chosen, shapes, obs, carry)


def _check(student: Agent, teachers: Sequence[tuple[Agent, State]]) -> None:
    if not teachers:
        raise UsageError("distill needs a teacher: pass teachers=[(agent, state)]")
    if on_host(student.env):
        raise UsageError(
            f"{student.env.name} is a simulator of the host: distillation needs an environment in "
            "JAX"
        )
    spaces = _spaces(student)
    for agent in (student, *(teacher for teacher, _ in teachers)):
        if agent.distribution is None:
            raise UsageError("distill needs agents with a policy or action values")
        if agent.population_axes or agent.placement is not None:
            raise UsageError("distill needs plain agents: give one member of a population")
        if _spaces(agent) != spaces:
            raise UsageError(
                f"a student for {spaces} cannot learn from a teacher for {_spaces(agent)}"
            )
    obs = jax.eval_shape(student.init, jax.random.key(0)).worker.obs
    leading = jax.tree.leaves(obs)[0].shape[:1]

    def kinds(agent: Agent, state: State) -> Any:
        assert agent.distribution is not None
        return agent.distribution(state, obs_, agent.initial_carry(leading))[0]

    obs_ = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), obs)
    own = jax.eval_shape(
        lambda key: kinds(student, with_params(student, student.init(key).learner.params)),
        jax.random.key(0),
    )
    for teacher, state in teachers:
        theirs = jax.eval_shape(lambda: kinds(teacher, state))  # noqa: B023
        if type(theirs) is not type(own):
            divergence(theirs, own)
            raise UsageError(
                f"a student whose actions are {type(own).__name__} cannot learn from a teacher "
                f"whose actions are {type(theirs).__name__}"
            )


def _spaces(agent: Agent) -> str:
    """What an agent observes and does, in words."""
    seen, done = describe(agent.env.observation_space), describe(agent.env.action_space)
    return f"observations of {seen} and actions of {done}"
