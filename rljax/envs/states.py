"""Environments whose observations carry the state behind them, for who looks ahead from there."""

from dataclasses import dataclass, replace

import jax

from rljax.envs.wrappers import OF_ONE, Wrapper
from rljax.errors import UsageError
from rljax.types import Action, Environment, EnvState, Key, MaskedObs, Obs, StateObs


@dataclass(frozen=True)
class WithState(Wrapper):
    """An environment whose observations are `StateObs`; all else is as it was."""

    handed_on = (*OF_ONE, "action_mask", "players")

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """A fresh episode; consumes the key."""
        state, obs = self.env.reset(key)
        return state, StateObs(obs, state)

    def step(self, key: Key, state: EnvState, action: Action):
        """A step; consumes the key."""
        state, obs, *rest = self.env.step(key, state, action)
        return state, StateObs(obs, state), *rest


def with_state(env: Environment, agent: str) -> WithState:
    """`env`, whose observations carry its state.

    Raises UsageError, naming `agent`, for a state that is not a pytree of arrays.
    """
    try:
        jax.eval_shape(env.reset, jax.random.key(0))
    except TypeError as error:
        raise UsageError(
            f"{agent} steps copies of the state of {env.name}, which must be a pytree of arrays: "
            f"{str(error).splitlines()[0]}"
        ) from None
    return WithState(env)


def state_of(obs: Obs) -> EnvState:
    """The state that observations [...] carry; UsageError where they carry none."""
    seen = obs.obs if isinstance(obs, MaskedObs) else obs
    if not isinstance(seen, StateObs):
        raise UsageError(
            "a search begins from the state of an environment, which these observations do not "
            "carry: give it those of the environment of its agent, agent.env"
        )
    return seen.state


def without_state(obs: Obs) -> Obs:
    """Observations as they are where nobody looks ahead, for a replay."""
    if isinstance(obs, MaskedObs):
        return replace(obs, obs=without_state(obs.obs))  # type: ignore[type-var]
    return obs.obs if isinstance(obs, StateObs) else obs
