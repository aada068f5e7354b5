"""A policy as an ASGI application."""

from typing import TYPE_CHECKING

from rljax.errors import UsageError, check_at_most, check_extra, check_positive
from rljax.exports.interface import interface
from rljax.serving.batching import Batcher, CompiledPolicy
from rljax.serving.messages import Reader
from rljax.serving.sessions import Sessions
from rljax.types import Agent, State

if TYPE_CHECKING:
    from starlette.applications import Starlette

PACKAGES = ("starlette", "uvicorn", "msgpack", "prometheus_client")  # of the extra `serve`


def app(
    agent: Agent,
    state: State,
    batch_size: int = 64,
    queue: int = 1024,
    sessions: int = 1024,
    session_seconds: float = 600.0,
) -> "Starlette":
    """The greedy policy of an agent as an ASGI application, for uvicorn or inside another one.

    It has `POST /act`, `GET /health` and `GET /metrics`. The policy is compiled before this
    returns. All runs in the thread of the event loop.

    Args:
        agent: the agent, such as `rljax.load` gives; of a population, the agent of one member.
        state: its state, of which the parameters are used.
        batch_size: how many requests the policy answers at once, at most.
        queue: how many requests may wait; one more is answered with status 503.
        sessions: of how many sessions the carry is kept, for a policy with a memory.
        session_seconds: how long a session may be idle before it is removed.

    Raises UsageError for a number that is too small, a population, and packages of the extra
    `serve` that are not installed.
    """
    check(batch_size, queue, sessions, session_seconds)
    from rljax.serving import endpoints

    policy = interface(agent, state)
    remembers = policy.observed != policy.inputs
    kept = None
    if remembers:
        # The sessions of a batch must not make room for each other.
        check_at_most("batch_size", batch_size, "sessions", sessions)
        kept = Sessions(policy.initial_carry, sessions, session_seconds)
    compiled = CompiledPolicy(policy, batch_size)
    metrics = endpoints.Metrics(compiled.sizes)
    batcher = Batcher(compiled, kept, queue, metrics.batch)
    metrics.gauge("rljax_waiting_requests", "Requests in the queue.", batcher.__len__)
    if kept is not None:
        metrics.gauge("rljax_sessions", "Sessions whose carry is kept.", kept.__len__)
    reader = Reader(policy.observed, agent.env.observation_space, remembers)
    about = {
        "environment": agent.env.name,
        "inputs": [each.describe() for each in policy.observed],
        "action": policy.outputs[0].describe(),
        "needs_session": remembers,
    }
    return endpoints.application(endpoints.Act(reader, batcher, metrics), metrics, about)


def check(batch_size: int, queue: int, sessions: int, session_seconds: float) -> None:
    """Refuse, before work begins, what `app` cannot serve; raises what it raises."""
    check_extra("serving a policy", "serve", *PACKAGES)
    check_positive(batch_size=batch_size, queue=queue, sessions=sessions)
    if not session_seconds > 0:
        raise UsageError(f"session_seconds must be above 0, not {session_seconds}")
