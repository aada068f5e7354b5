"""Measure how many actions a second `rljax serve` gives, how late, and with how much memory.

    rljax train configs/ppo/cartpole.toml --run-dir runs/cartpole
    python benchmarks/studies/serving.py runs/cartpole
    python benchmarks/studies/serving.py runs/cartpole --server fastapi
    python benchmarks/studies/serving.py runs/cartpole --seconds 600 --every 60

Each of 64 clients has a connection, sends an observation of CartPole, waits for the action, and
sends the next one. All clients are this process, and the server is another one. Each line is what
was measured in `--every` seconds. `fastapi` is a plain handler of FastAPI, on the same uvicorn,
that calls the compiled policy for each request; it needs the package fastapi.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import uvloop

WARM_UP_SECONDS = 2.0
OBSERVATIONS = 997  # that the clients send in turns


class Client(asyncio.Protocol):
    """A connection that asks again when it is answered, and notes how long each answer took."""

    def __init__(self, requests: list[bytes], begin: int, seconds: list[float]) -> None:
        self.requests, self.place, self.seconds = requests, begin, seconds
        self.failures = 0
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        """Ask for the first time."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the next observation."""
        self.place += 1
        self.began = time.perf_counter()
        self.transport.write(self.requests[self.place % len(self.requests)])

    def data_received(self, data: bytes) -> None:
        """Note an answer, when it is complete, and ask again."""
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        self.received = b""
        self.failures += not head.startswith(b"HTTP/1.1 200")
        self.seconds.append(time.perf_counter() - self.began)
        self.ask()


def requests() -> list[bytes]:
    """Requests with random observations."""
    found = []
    for obs in np.random.default_rng(0).normal(size=(OBSERVATIONS, 4)):
        body = json.dumps({"obs": obs.tolist()})
        head = "POST /act HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        found.append(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    return found


async def ask(port: int, pid: int, clients: int, seconds: float, every: float) -> list[dict]:
    """Let the clients ask for so long; prints and returns what each part of it came to."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    sent = requests()
    protocols = [Client(sent, 31 * place, latencies) for place in range(clients)]
    for protocol in protocols:
        await loop.create_connection(lambda made=protocol: made, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(WARM_UP_SECONDS)
    rows = []
    for _ in range(round(seconds / every)):
        latencies.clear()
        used, began = cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(every)
        passed = time.perf_counter() - began
        waited = 1e3 * np.array(latencies)
        rows.append(
            {
                "actions_per_second": round(len(waited) / passed),
                "p50_ms": round(float(np.percentile(waited, 50)), 2),
                "p99_ms": round(float(np.percentile(waited, 99)), 2),
                "server_cpu_us_per_action": round((cpu_seconds(pid) - used) / len(waited) * 1e6),
                "server_mib": round(resident_mib(pid), 1),
                "load_of_machine": round(os.getloadavg()[0], 1),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    failures = sum(protocol.failures for protocol in protocols)
    assert not failures, f"{failures} requests were not answered with an action"
    for protocol in protocols:
        protocol.transport.close()
    return rows


def cpu_seconds(pid: int) -> float:
    """That a process has used, also in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def plain(run: str) -> None:
    """Serve a handler of FastAPI as one would write it first."""
    import jax
    import jax.numpy as jnp
    from fastapi import FastAPI
    from pydantic import BaseModel

    import rljax

    agent, state = rljax.load(run)
    act = jax.jit(lambda obs: agent.act(state, obs, (), None)[0])
    app = FastAPI()

    class Question(BaseModel):
        obs: list[float]

    @app.post("/act")
    async def answer(question: Question) -> dict[str, int]:
        return {"action": int(act(jnp.asarray(question.obs, jnp.float32)[None])[0])}

    act(jnp.zeros((1, 4)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/act", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run([listener])


def measure(run: str, server: str, clients: int, seconds: float, every: float) -> list[dict]:
    """Start a server and ask it."""
    command = {
        "rljax": [sys.executable, "-m", "rljax", "serve", run, "--port", "0"],
        "fastapi": [sys.executable, __file__, run, "--plain"],
    }[server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r":(\d+)/act", process.stdout.readline())
            assert address is not None, "the server has not started"
            return uvloop.run(ask(int(address[1]), process.pid, clients, seconds, every))
        finally:
            process.terminate()


def main() -> None:
    """Measure, or be the server of FastAPI."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--server", choices=["rljax", "fastapi"], default="rljax")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--plain", action="store_true", help="Be the server of FastAPI.")
    given = parser.parse_args()
    if given.plain:
        plain(given.run)
    else:
        measure(given.run, given.server, given.clients, given.seconds, given.every)


if __name__ == "__main__":
    main()
