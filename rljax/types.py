"""The types everything else is written in.

Axis letters, used in every shape comment: T time, N environments, B batch, L sequence length,
M agents in one environment, A action dimensions, S states, P population members, D devices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from flax import struct

Key = jax.Array  # a typed key from jax.random.key, shape []
Obs = Any  # one array per observation, leading axes as the context says
Action = jax.Array
Params = Any  # any pytree: linen variables, a table [S, A], ...
Carry = Any  # what who acts hands on from step to step, any pytree; () for nothing
UpdateState = Any
EnvState = Any
Hparams = Any  # a frozen dataclass of floats
Metrics = dict[str, jax.Array]  # scalars, named as in docs/metrics.md


class MissingField(KeyError):
    """An update read a field of the batch that nothing before it wrote."""

    def __str__(self) -> str:
        return self.args[0]


class Extras(dict[str, Any]):
    """Named additions to a batch; reading one that nobody wrote says what there is."""

    def __missing__(self, field: str) -> Any:
        written = ", ".join(sorted(self)) or "nothing"
        raise MissingField(f"reads extras['{field}'], which nothing before it wrote ({written})")


jax.tree_util.register_pytree_with_keys(
    Extras,
    lambda extras: (
        tuple((jax.tree_util.DictKey(name), extras[name]) for name in sorted(extras)),
        tuple(sorted(extras)),
    ),
    lambda names, values: Extras(zip(names, values, strict=True)),
)


@struct.dataclass
class MaskedObs:
    """An observation of an environment with an action mask, and the mask that goes with it."""

    obs: Obs  # [..., ...] what the environment gave
    legal: jax.Array  # [..., A] bool, which actions are legal there; all, where the task ended


@struct.dataclass
class StateObs:
    """An observation, and the state of the environment behind it, for who looks ahead from there.

    A `MaskedObs` lies around it. Networks read neither mask nor state, and no replay stores
    states.
    """

    obs: Obs  # [..., ...] what the environment gave
    state: EnvState  # [..., ...]


@struct.dataclass
class Transition:
    """Experience, time-major. A batch is a transition that updates annotate through `extras`."""

    obs: Obs  # [T, N, ...] what the policy saw
    action: Action  # [T, N, ...] what the environment was given, within its bounds
    reward: jax.Array  # [T, N] float32, or [T, N, M] of several agents
    terminated: jax.Array  # [T, N] bool: the task ended; never bootstraps
    truncated: jax.Array  # [T, N] bool: the clock ended; bootstraps from next_obs
    next_obs: Obs  # [T, N, ...] before any automatic reset
    extras: Extras  # [T, N, ...] each: log_prob, carry, value, advantage, ...

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended here, for either reason; bool [T, N]."""
        return self.terminated | self.truncated

    def annotate(self, **fields: Any) -> "Transition":
        """This batch with `fields` added to (or replaced in) its extras."""
        return self.replace(extras=Extras({**self.extras, **fields}))  # type: ignore[attr-defined]

    def get(self, name: str) -> Any:
        """The field of a step, or the extra, of that name."""
        return self.extras[name] if name not in STEP_FIELDS else getattr(self, name)

    def put(self, name: str, value: Any) -> "Transition":
        """This batch with the field of a step, or the extra, of that name replaced or added."""
        if name in STEP_FIELDS:
            return self.replace(**{name: value})  # type: ignore[attr-defined]
        return self.annotate(**{name: value})


STEP_FIELDS = ("obs", "action", "reward", "terminated", "truncated", "next_obs")
"""The fields of `Transition` that are no extras."""
Batch = Transition


@struct.dataclass
class Learner:
    """What learning changes: the same on every device."""

    params: Params
    update_state: UpdateState


@struct.dataclass
class Worker:
    """Where experience comes from: every leaf leads with the environment axis N."""

    env_state: EnvState  # [N, ...]
    obs: Obs  # [N, ...]
    carry: Carry  # [N, ...] or ()
    replay: Any  # [N, ...], experience kept from before; () for an agent that keeps none
    update_state: UpdateState  # [N, ...], what updates keep as `PerEnvironment`, in their order
    episode_return: jax.Array  # [N] or [N, M] float32, undiscounted reward of the episode so far
    episode_length: jax.Array  # [N] int32, steps of the episode so far


@struct.dataclass
class State:
    """All there is to know about a training run: saving it and restoring it loses nothing."""

    iteration: jax.Array  # [] int32, iterations finished
    key: Key  # []
    hparams: Hparams  # float32 leaves, so that they can be swept, mutated and saved
    learner: Learner
    worker: Worker


@struct.dataclass
class PerEnvironment:
    """The part of an update's state that belongs to the environments, such as counts of visits.

    `Update.init` gives the value for one environment, and `Update.apply` takes and returns those of
    all: leaves [N, ...]. It lies in `Worker`, so it is spread over devices with the environments,
    where the rest of an update's state is the same on every device. For updates of fresh
    experience alone: a sample of a replay buffer does not say which environments it is from.
    """

    value: Any


class Parts(NamedTuple):
    """An update in two parts, of which the first can be done elsewhere, and with older parameters.

    `updates.in_parts` makes an update of them.
    """

    contribute: Callable[[Params, Batch, Key], tuple[Any, Batch, Metrics]]
    """(params, batch, key) to a contribution, such as gradients; the batch, annotated; metrics."""
    absorb: Callable[[Params, UpdateState, Any], tuple[Params, UpdateState, Metrics]]
    """(params, state, contribution) to new parameters, a new state and metrics."""


class Update(NamedTuple):
    """What optax's GradientTransformation is to gradients, this is to experience.

    It is given a batch [T, N]. Either that is *fresh experience*: a rollout, every step once and in
    order, its environments always the same. Or it is a *sample* of a replay: windows [K, B], some
    of them again and again. The docstring of an update says which of the two it reads.
    """

    init: Callable[[Params, Key], UpdateState]
    apply: Callable[[Params, UpdateState, Batch, Key], tuple[Params, UpdateState, Batch, Metrics]]
    parts: Parts | None = None
    """What `apply` is made of, where an actor can do the first part; else None."""


class Policy(Protocol):
    """Chooses actions for a batch of observations; consumes the key."""

    def __call__(
        self, params: Params, obs: Obs, carry: Carry, key: Key
    ) -> tuple[Action, dict[str, Any], Carry]:
        """Obs [N, ...] to actions [N, ...], extras to record [N, ...] and the next carry."""
        ...


class Actor(NamedTuple):
    """Who chooses actions: all that a rollout and an evaluation need to know of an algorithm."""

    init: Callable[[Key], Params]
    policy: Callable[[Hparams, jax.Array], Policy]
    """(hparams, progress) to the policy that learns, progress [] running from 0 to 1."""
    mode: Callable[[Hparams], Callable[[Params, Obs, Carry], tuple[Action, Carry]]]
    """Hparams to who takes the best actions [N, ...] so far, for observations [N, ...]; and the
    next carry."""
    initial_carry: Callable[[tuple[int, ...]], Carry] = lambda leading: ()
    """Leading axes to the carry with which an episode begins."""
    distribution: Callable[[Params, Obs, Carry], tuple[Any, Carry]] | None = None
    """What is chosen from, without noise, for observations [N, ...], and the next carry.

    A distribution of `networks`: that of a policy, or the `Categorical` whose logits are action
    values. None where there is none, and so nothing to distil."""


class Environment(Protocol):
    """One environment, unbatched; pure functions. Any object with these members will do."""

    @property
    def name(self) -> str:
        """The name people know it by."""
        ...

    @property
    def observation_space(self) -> Any:
        """A space of `rljax.envs.spaces`."""
        ...

    @property
    def action_space(self) -> Any:
        """A space of `rljax.envs.spaces`."""
        ...

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        ...

    def step(
        self, key: Key, state: EnvState, action: Action
    ) -> tuple[EnvState, Obs, jax.Array, jax.Array, jax.Array]:
        """State, obs, reward, terminated, truncated. No automatic reset. Consumes the key."""
        ...


@runtime_checkable
class HasGoal(Protocol):
    """What an environment has besides, if its episodes can succeed: then evaluations count them."""

    def success(self, state: EnvState) -> jax.Array:
        """Whether an episode that ends in `state` has reached its goal, bool []."""
        ...


@runtime_checkable
class HasActionMask(Protocol):
    """What an environment has besides, if some of its Discrete actions are illegal at times.

    The mask travels in the observation, as `MaskedObs`. Illegal actions are never chosen, explored
    with or bootstrapped from. In each state in which somebody acts, one action is legal at least.
    """

    def action_mask(self, state: EnvState) -> jax.Array:
        """Which actions are legal in `state`, bool [A]; of M agents, bool [M, A]."""
        ...


@runtime_checkable
class TwoPlayerGame(Environment, HasActionMask, Protocol):
    """A zero-sum game of two players who move in turns: an environment has these members besides.

    One player moves in each step, and, where the game goes on, the other one in the next. Both see
    all there is. An observation, and a mask of actions, is from the view of who is to move, so one
    policy plays both sides. A reward is that of who moved, and the other one is paid its negative:
    1 for a win, -1 for a loss, such as by an illegal move, and 0 for a draw and before the end.

    After an end the next game begins, as episodes of any environment do, with the same player.
    `envs.opponents.Against` makes an environment of one player of a game and an opponent.
    """

    players: tuple[str, str]
    """The names of who moves first and of who moves second."""


@runtime_checkable
class HasText(Protocol):
    """What a game has besides, if people can play it in a terminal."""

    def text(self, state: EnvState) -> str:
        """The board of a state, and which number each action has, in a few lines."""
        ...


@runtime_checkable
class HasSymmetries(Protocol):
    """What a game has besides, if it looks the same when its board is turned or mirrored."""

    symmetries: int
    """How many ways there are to look at the board, S; the first one leaves it as it is."""

    def seen_from(self, way: jax.Array, obs: Obs) -> Obs:
        """An observation, seen in a way [] of the S."""
        ...

    def actions_from(self, way: jax.Array) -> jax.Array:
        """For each action, seen in that way, which action it is, int32 [A]."""
        ...


@runtime_checkable
class HasGoals(Protocol):
    """What an environment has besides, if a goal is part of its observations: for hindsight."""

    def achieved_goal(self, obs: Obs) -> Any:
        """The goal that is reached in an observation, whatever its own goal is."""
        ...

    def with_goal(self, obs: Obs, goal: Any) -> Obs:
        """The observation, had the episode another goal."""
        ...

    def goal_reward(self, next_obs: Obs) -> tuple[jax.Array, jax.Array]:
        """Reward and terminated, [] each, of a step that led to an observation with its goal."""
        ...


@runtime_checkable
class HasCostlyReset(Protocol):
    """What an environment has besides, if a reset costs about as much as a step.

    Then environments are reset only where an episode ended. For all others, a reset in every step
    is cheaper than finding out where one is needed.
    """

    reset_is_costly: bool


@runtime_checkable
class MultiAgentEnvironment(Environment, Protocol):
    """An environment in which M agents act at once: it has these members besides.

    Its spaces are those of one agent, and those of all agents are the same: smaller ones are padded
    with zeros, and with actions that a mask forbids. `reset` gives observations [M, ...]. `step`
    takes actions [M, ...] and gives observations [M, ...], rewards [M], and terminated and
    truncated [], which end the episode of all. A mask of actions is [M, A]. An agent whose turn it
    is not, or who has left, has one legal action, which does nothing; who has left observes zeros.
    """

    agents: tuple[str, ...]
    """The names of the agents, in the order of axis M."""
    teams: tuple[tuple[int, ...], ...]
    """Agents that want the same, by their places; each agent is in one team."""
    shared_reward: bool
    """Whether the agents of a team are given one reward, which counts once in its return. Else the
    return of a team is the sum over its agents."""


@runtime_checkable
class HasGlobalState(Protocol):
    """What an environment of several agents has besides, for a central critic or a mixer."""

    state_space: Any
    """A Box of one axis."""

    def global_state(self, state: EnvState) -> jax.Array:
        """What there is to know of `state`, float32 [G]."""
        ...


class HostActors(NamedTuple):
    """Who steps a simulator of the host, and how: what `rljax.distribute` is given."""

    number: int = 1
    """How many actors share the N environments."""
    driver: str = "threads"
    """What runs them: "threads" of this process, or "ray"."""
    ray_address: str | None = None
    """Of a Ray cluster; None to start one on this machine."""
    timeout: float = 60.0
    """Seconds without a batch after which an actor counts as hung."""
    max_lag: int = 4
    """How many iterations older than the newest the parameters that acted may be, at most, where
    the agent may lag."""
    parameter_server: bool = False
    """Whether actors send contributions, as `Agent.contribute` makes, instead of batches."""


class Agent(NamedTuple):
    """A bundle of pure functions over one state; close over it, never pass it to jit."""

    env: Environment
    """Where it is evaluated; where it acts, too, unless it plays a game against itself."""
    hparams: Hparams
    """The floats it was built with."""
    init: Callable[..., State]
    """`(key, hparams=None) -> state`."""
    step: Callable[[State], tuple[State, Metrics]]
    """One iteration: roll out with `policy`, then `learn` from the batch."""
    policy: Callable[[State, Obs, Carry, Key], tuple[Action, dict[str, Any], Carry]]
    """Obs [N, ...] to actions [N, ...], the extras that `learn` reads, and the next carry."""
    learn: Callable[[State, Batch], tuple[State, Metrics]]
    """The second half of `step`: from a batch [T, N] of experience, whoever brings it.

    Its extras are those of `policy`, and carry, the one before each step. It renews the key and
    counts the iteration; environments, and the carry, of the state stay as they are.
    """
    act: Callable[[State, Obs, Carry, Key | None], tuple[Action, Carry]]
    """Obs [N, ...] to actions [N, ...]; with key None the greedy ones, or the policy's mode."""
    initial_carry: Callable[[tuple[int, ...]], Carry]
    """Leading axes to the carry with which an episode begins."""
    env_steps_per_iteration: int
    num_iterations: int
    distribution: Callable[[State, Obs, Carry], tuple[Any, Carry]] | None = None
    """Obs [N, ...] to what is chosen from, and the next carry; see `Actor.distribution`."""
    warmup_env_steps: int = 0
    """Taken by `init`, or by the actors of a simulator before the first iteration."""
    explore: Callable[[State, Obs, Carry, Key], tuple[Action, dict[str, Any], Carry]] | None = None
    """Who acts in the warm-up, as `policy`; None for an agent that has none."""
    remember: Callable[[State, Batch], State] | None = None
    """Adds a batch [T, N] of the warm-up to the replay buffer, and learns nothing from it."""
    end_episodes: Callable[[State, jax.Array], State] | None = None
    """Ends what is stored of the environments where bool [N] is true, because their simulators
    have begun anew; None for an agent that keeps no experience."""
    may_lag: bool = False
    """Whether `learn` can learn from actions of older parameters, so that actors need not wait."""
    contribute: Callable[[State, Batch, Key], tuple[Any, Metrics]] | None = None
    """The first part of `learn`, for actors: from a batch [T, N] to a contribution.

    It reads what `policy` reads of the state, and a key: `learn` has the third of
    `jax.random.split(state.key, 3)`. None for an agent whose learning has no such part.
    """
    absorb: Callable[[State, Any], tuple[State, Metrics]] | None = None
    """The second part of `learn`: a contribution changes what is learnt, and renews the key.

    It does not count an iteration, because there may be many contributions to one.
    """
    actors: HostActors | None = None
    """Who steps the simulator, for an agent whose environment is one of the host."""
    population_axes: int = 0
    """How many axes of members lead its states."""
    members_may_fail: bool = False
    """Train on while any member is finite, not only while all are."""
    placement: Callable[[State], State] | None = None
    """States, or their shapes, to the sharding of each leaf; None for those of one device."""

    def env_steps(self, iterations: int) -> int:
        """Environment steps behind a state after so many iterations; per member of a population."""
        return self.warmup_env_steps + iterations * self.env_steps_per_iteration
