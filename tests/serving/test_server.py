"""The command as a process of its own."""

import json
import re
import signal
import socket
import subprocess
import sys

import httpx
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax.experiments import experiment


@pytest.fixture
def server(finished):
    """A process that serves the second seed of a run, and its address."""
    command = [sys.executable, "-m", "rljax", "serve", str(finished.path)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--member", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    found = re.fullmatch(r"ppo on CartPole-v1: POST (http://127.0.0.1:\d+)/act\n", line)
    assert found, line + process.stderr.read()
    yield process, found[1]
    process.kill()
    process.wait()


def half_sent(port: int) -> tuple[socket.socket, bytes]:
    """A connection with the first part of a request, and the part that is left."""
    connection = socket.create_connection(("127.0.0.1", port))
    body = json.dumps({"obs": [0.0, 0.1, 0.2, 0.3]}).encode()
    head = b"POST /act HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body[:10])
    return connection, body[10:]


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_it_answers_whatever_comes_and_ends_when_requests_are_answered(server, finished, number):
    process, address = server
    port = int(address.rpartition(":")[2])
    agent, state = rljax.load(finished.path)
    agent, state = experiment.member(agent, finished.load_config(), state, 1)
    obs = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    expected = agent.act(state, jnp.asarray(obs), (), None)[0].tolist()
    with httpx.Client(base_url=address, timeout=60) as client:
        sent = [client.post("/act", json={"obs": row.tolist()}).json() for row in obs]
        assert [each["action"] for each in sent] == expected
        assert client.post("/act", content=b" " * 100_000_000).status_code == 413
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"\x00garbage\r\n\r\n")
            assert b" 400 " in connection.recv(4096)
        assert client.get("/health").json()["status"] == "ok"
        connection, rest = half_sent(port)
        assert client.get("/metrics").status_code == 200
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port))
        connection.sendall(rest)
        answer = connection.makefile("rb").read()
        assert b" 200 " in answer.splitlines()[0] and b'{"action":' in answer
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
