import asyncio
import importlib.util
import socket

import jax
import msgpack
import numpy as np
import pytest
from asking import answers, get, packed
from policies import AGENTS, drawn, fresh
from starlette.applications import Starlette
from starlette.routing import Mount

import rljax
from rljax.cli import main
from rljax.envs import probes, spaces
from rljax.errors import RunError, UsageError
from rljax.exports.interface import Argument, interface
from rljax.serving.batching import Batcher, CompiledPolicy
from rljax.serving.messages import Reader, Refusal, Request
from rljax.serving.server import serve
from rljax.serving.sessions import Sessions
from rljax.types import MaskedObs

STEPS, ROWS = 16, 7
QUICK = ("gru", "table")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in AGENTS]


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_those_of_an_evaluation(name):
    """Of sessions that ask at once, in JSON and in msgpack, and begin episodes as they like."""
    agent = AGENTS[name]()
    state, random = fresh(agent), np.random.default_rng(0)
    app = rljax.serving.app(agent, state, batch_size=5)
    inputs = interface(agent, state).observed
    act = jax.jit(lambda obs, carry: agent.act(state, obs, carry, None))
    initial = agent.initial_carry((ROWS,))
    carry, taken = initial, []
    for step in range(STEPS):
        begins = (random.random(ROWS) < 0.3) | (step == 0)
        arrays = [drawn(random, each, ROWS) for each in inputs]
        if name == "mask":
            arrays[1][:, 0] |= ~arrays[1].any(1)
        carry = jax.tree.map(
            lambda x, first, begins=begins: np.where(begins[:, None], first, x), carry, initial
        )
        expected, carry = act(MaskedObs(*arrays) if name == "mask" else arrays[0], carry)
        requests = []
        for row in range(ROWS):
            message = {"session": f"row {row}", "reset": bool(begins[row])}
            given = {each.name: x[row] for each, x in zip(inputs, arrays, strict=True)}
            as_bytes = {key: x.tobytes() for key, x in given.items()}
            as_lists = {key: x.tolist() for key, x in given.items()}
            requests.append([{"json": message | as_lists}, packed(message | as_bytes)][row % 2])
        found = []
        for row, answer in enumerate(answers(app, *requests)):
            body = [answer.json, lambda answer=answer: msgpack.unpackb(answer.content)][row % 2]()
            assert answer.status_code == 200, body
            found.append(body["action"])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        taken.append(expected)
    assert len(np.unique(np.concatenate(taken), axis=0)) > 1


@pytest.fixture(scope="module")
def memory():
    """An application of a policy with a memory, of few sessions."""
    agent = AGENTS["gru"]()
    return rljax.serving.app(agent, fresh(agent), batch_size=2, sessions=2)


@pytest.fixture(scope="module")
def lake():
    """An application of a table."""
    agent = AGENTS["table"]()
    return rljax.serving.app(agent, fresh(agent), batch_size=4, queue=6)


@pytest.fixture(scope="module")
def board():
    """An application with a mask of actions."""
    agent = rljax.q_learning(probes.LegalActions(), num_envs=4, total_env_steps=320)
    return rljax.serving.app(agent, fresh(agent), batch_size=1)


OBS = [0.1, 0.2, 0.3, 0.4]
NO_REQUESTS = [
    ("lake", {"content": b"{"}, 400, "the body is not application/json"),
    ("lake", {"content": b"\xff\x00garbage"}, 400, "the body is not application/json"),
    ("lake", {"content": b"[" * 4000}, 400, "the body is not application/json"),
    ("lake", {"content": b"\xc1"}, 400, "the body is not application/json"),
    ("lake", packed(7) | {"content": b"\xc1"}, 400, "the body is not application/msgpack"),
    ("lake", packed([1, 2]), 400, "a request must be a map with obs, not a list"),
    ("lake", {"json": [1]}, 400, "a request must be a map with obs, not a list"),
    ("lake", {"data": {"obs": "1"}}, 415, "must be application/json or application/msgpack"),
    ("lake", {"content": b" " * 5000}, 413, "the body is longer than 4,128 bytes"),
    ("lake", {"json": {"obs": 1, "sesion": 3}}, 400, "'sesion' is not known; did you mean 'sess"),
    ("lake", {"json": {}}, 400, "obs is missing: int32 of the shape ()"),
    ("lake", {"json": {"obs": 16}}, 400, "obs must be one of the numbers 0 to 15"),
    ("lake", {"json": {"obs": -1}}, 400, "obs must be one of the numbers 0 to 15"),
    ("lake", {"json": {"obs": 2**40}}, 400, "obs has a number that int32 does not have"),
    ("lake", {"json": {"obs": 1.5}}, 400, "obs must be int32 of the shape (), not float64"),
    ("lake", {"json": {"obs": 1, "session": True}}, 400, "a text or a whole number, not a truth"),
    ("lake", {"json": {"obs": 1, "session": "x" * 999}}, 400, "more than 128 characters"),
    ("lake", {"json": {"obs": 1, "reset": 1}}, 400, "reset must be true or false, not a number"),
    ("lake", packed({"obs": b"123"}), 400, "obs has 3 bytes, and int32 of the shape () has 4"),
    ("memory", {"json": {"obs": OBS}}, 400, "each request must name its session"),
    ("memory", {"json": {"obs": OBS, "session": 1}}, 409, "session 1 is not known"),
    ("memory", {"json": {"obs": OBS[1:]}}, 400, "shape (3,), and the policy takes (4,)"),
    ("memory", {"json": {"obs": [OBS, [1]]}}, 400, "do not fit together"),
    ("memory", {"json": {"obs": "abcd"}}, 400, "obs must be float32 of the shape (4,), not str"),
    ("memory", {"json": {"obs": [None] * 4}}, 400, "obs must be float32 of the shape (4,), not ob"),
    ("memory", {"content": b'{"obs": [1, NaN, 0, 0]}'}, 400, "not finite in float32"),
    ("memory", {"content": b'{"obs": [1, 1e99, 0, 0]}'}, 400, "not finite in float32"),
    ("board", {"json": {"obs": 0}}, 400, "mask is missing"),
    ("board", {"json": {"obs": 0, "mask": [False] * 4}}, 400, "mask has no legal action"),
    ("board", {"json": {"obs": 0, "mask": [2] * 4}}, 400, "a number that bool does not have"),
]


@pytest.mark.parametrize(("name", "request_", "status", "words"), NO_REQUESTS)
def test_what_does_not_fit_is_answered_with_a_sentence(name, request_, status, words, request):
    app = request.getfixturevalue(name)
    [answer] = answers(app, request_)
    is_packed = answer.headers["content-type"] == "application/msgpack"
    body = msgpack.unpackb(answer.content) if is_packed else answer.json()
    assert answer.status_code == status and words in body["error"] and "\n" not in body["error"]
    good = {"lake": {"obs": 3}, "board": {"obs": 0, "mask": [True] * 4}}
    message = good.get(name, {"obs": OBS, "session": "new", "reset": True})
    assert answers(app, {"json": message})[0].status_code == 200


def test_parts_of_an_observation_are_fields_of_their_own():
    inputs = [Argument("obs.place", (1,), np.float32), Argument("obs.time", (), np.int32)]
    space = spaces.Dict({"time": spaces.Discrete(20), "place": spaces.Box(-1.0, 1.0, (1,))})
    reader = Reader(inputs, space, False)
    place, time = reader.read({"obs.time": 19, "obs.place": [30]}).arrays
    assert place == [30.0] and place.dtype == np.float32 and time == 19
    with pytest.raises(Refusal, match="obs.time must be one of the numbers 0 to 19"):
        reader.read({"obs.time": 20, "obs.place": [30]})


def test_other_addresses_are_answered_with_a_sentence(lake):
    for path, status in (("/", 404), ("/act", 405)):
        answer = get(lake, path)
        assert answer.status_code == status and "POST /act" in answer.json()["error"]


def test_it_can_be_a_part_of_another_application(lake):
    outer = Starlette(routes=[Mount("/lake", lake)])
    [answer] = answers(outer, {"json": {"obs": 1}}, path="/lake/act")
    assert answer.status_code == 200 and get(outer, "/lake/health").json()["status"] == "ok"


def test_requests_that_come_at_once_are_a_batch_and_too_many_are_refused(lake):
    before = metrics(lake)
    found = answers(lake, *[{"json": {"obs": 1}}] * 8)
    assert [each.status_code for each in found] == [200] * 6 + [503] * 2
    assert "ask again later" in found[-1].json()["error"]
    assert found[-1].headers["retry-after"] == "1"
    after = metrics(lake)
    assert after["rljax_batch_size_count"] - before["rljax_batch_size_count"] == 2
    assert after["rljax_batch_size_sum"] - before["rljax_batch_size_sum"] == 6
    refused = 'rljax_requests_total{status="503"}'
    assert after[refused] - before.get(refused, 0) == 2
    assert after["rljax_waiting_requests"] == 0


def metrics(app) -> dict[str, float]:
    text = get(app, "/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_policy_that_fails_is_said_so_and_asked_again(lake, monkeypatch, caplog):
    def fail(self, arrays):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(CompiledPolicy, "__call__", fail)
        found = answers(lake, *[{"json": {"obs": 1}}] * 2)
    assert [each.status_code for each in found] == [500, 500]
    assert "the policy failed" in found[0].json()["error"] and "out of memory" in caplog.text
    assert answers(lake, {"json": {"obs": 1}})[0].status_code == 200


def test_an_action_that_is_not_finite_is_not_given(lake, monkeypatch):
    monkeypatch.setattr(CompiledPolicy, "__call__", lambda self, arrays: [np.array([1.0, np.nan])])
    good, bad = answers(lake, *[{"json": {"obs": 1}}] * 2)
    assert good.json() == {"action": 1.0}
    assert bad.status_code == 500 and bad.json() == {"error": "the action is not finite"}


def test_health_says_what_a_request_must_have(board, memory):
    found = get(board, "/health").json()
    assert found["status"] == "ok" and found["environment"] == "LegalActions"
    assert [each["name"] for each in found["inputs"]] == ["obs", "mask"]
    assert found["inputs"][1] == {"name": "mask", "shape": [4], "dtype": "bool"}
    assert not found["needs_session"] and get(memory, "/health").json()["needs_session"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_session_that_was_idle_longest_or_too_long_is_removed():
    clock = Clock()
    sessions = Sessions({"h": np.array([1.0, 2.0])}, 2, 10.0, clock)
    a, b = sessions.row("a", True), sessions.row("b", True)
    assert a != b and sessions.carries([a])[0].tolist() == [[1.0, 2.0]]
    sessions.keep([a, b], [np.array([[3.0, 3.0], [4.0, 4.0]])])
    assert sessions.carries([b, a])[0].tolist() == [[4.0, 4.0], [3.0, 3.0]]
    assert sessions.row("a", False) == a
    c = sessions.row("c", True)
    assert c == b and sessions.carries([c])[0].tolist() == [[1.0, 2.0]]
    with pytest.raises(Refusal, match="'b' is not known"):
        sessions.row("b", False)
    clock.now = 9.0
    assert sessions.row("a", False) == a and len(sessions) == 2
    clock.now = 11.0
    assert len(sessions) == 1
    with pytest.raises(Refusal, match="'c' is not known"):
        sessions.row("c", False)
    assert sessions.row("a", True) == a and sessions.carries([a])[0].tolist() == [[1.0, 2.0]]


def test_requests_of_a_session_are_answered_one_after_the_other():
    """A policy that counts the steps of its carry, and adds its observation."""

    class Counting:
        sizes = (1, 2)

        def __call__(self, arrays):
            assert len(arrays[0]) <= 2
            obs, steps = np.asarray(arrays[0]), np.asarray(arrays[1])
            return [obs + steps, steps + 1]

    batches = []
    batcher = Batcher(Counting(), Sessions(np.array(0.0), 4, 10.0), 99, batches.append)

    def request(obs, session, begins=False):
        return batcher.act(Request([np.array(float(obs))], session, begins))

    async def ask():
        return await asyncio.gather(
            request(100, "a", True),
            request(200, "a"),
            request(300, "b", True),
            request(400, "a"),
            request(500, "b"),
            request(600, "c"),
            request(700, "a", True),
            return_exceptions=True,
        )

    *found, refused, last = asyncio.run(ask())
    assert found == [100, 201, 300, 402, 501] and last == 700
    assert isinstance(refused, Refusal) and batches == [2, 2, 1, 1]


def refusal(agent=None, state=None, **options) -> str:
    with pytest.raises(UsageError) as caught:
        rljax.serving.app(agent, state, **options)
    return str(caught.value)


def test_what_cannot_be_served_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys):
    assert "batch_size must be a whole number" in refusal(batch_size=0)
    assert "queue must be a whole number" in refusal(queue=0)
    agent = AGENTS["gru"]()
    assert "sessions = 8" in refusal(agent, fresh(agent), sessions=8)
    assert "session_seconds must be above 0" in refusal(session_seconds=0.0)
    assert main(["serve", str(tmp_path)]) == 1
    assert "is not a run" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"127.0.0.1:{port} .*choose another --host or --port"):
            serve(None, "127.0.0.1", port, print)
    with pytest.raises(RunError, match="nowhere.invalid"):
        serve(None, "nowhere.invalid", 0, print)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "rljax-core[serve]" in refusal()
