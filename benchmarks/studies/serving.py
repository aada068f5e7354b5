"""Measure how many actions a second `rljax serve` answers, how late, and with how much memory.

    python benchmarks/studies/serving.py runs/cartpole --seconds 20
    python benchmarks/studies/serving.py runs/cartpole --seconds 20 --server fastapi
    python benchmarks/studies/serving.py runs/cartpole --seconds 600 --every 60

Each of the clients has a connection, sends an observation, waits for the action, and sends the next
one. They are this process; the server is another one. `fastapi` is a plain handler of FastAPI, on
the same uvicorn, that calls the compiled policy for each request.
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
MANY = 997  # observations that the clients send in turns


class Client(asyncio.Protocol):
    """A connection that asks again when it is answered."""

    def __init__(self, requests: list[bytes], place: int, seconds: list[float]) -> None:
        self.requests, self.place, self.seconds = requests, place, seconds
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
        """Count an answer that is complete."""
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < int(re.search(rb"content-length: (\d+)", head).group(1)):
            return
        self.received = b""
        self.failures += not head.startswith(b"HTTP/1.1 200")
        self.seconds.append(time.perf_counter() - self.began)
        self.ask()


def requests(about: dict) -> list[bytes]:
    """Requests for a policy, as `/health` describes its inputs."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(MANY):
        message = {each["name"]: random.normal(size=each["shape"]).tolist() for each in about}
        body = json.dumps(message).encode()
        head = "POST /act HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        found.append(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return found


async def load(port: int, clients: int, seconds: float, every: float, pid: int) -> dict:
    """Ask for so long, and print a line for each part of it."""
    loop = asyncio.get_running_loop()
    about = [{"name": "obs", "shape": (4,)}]
    sent = requests(about)
    latencies: list[float] = []
    protocols = [Client(sent, 31 * place, latencies) for place in range(clients)]
    for protocol in protocols:
        await loop.create_connection(lambda p=protocol: p, "127.0.0.1", port)
    await asyncio.sleep(WARM_UP_SECONDS)
    rows = []
    began, ends = time.perf_counter(), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        latencies.clear()
        used, at = cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(min(every, ends - at))
        passed = time.perf_counter() - at
        waited = np.array(latencies) * 1e3
        rows.append(
            {
                "second": round(time.perf_counter() - began),
                "actions_per_second": round(len(waited) / passed),
                "p50_ms": round(float(np.percentile(waited, 50)), 2),
                "p99_ms": round(float(np.percentile(waited, 99)), 2),
                "max_ms": round(float(waited.max()), 2),
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
    return {"rows": rows}


def cpu_seconds(pid: int) -> float:
    """That a process has used, of the user and of the system."""
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
    config = uvicorn.Config(app, log_level="error", access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/act", flush=True)
        uvicorn.Server(config).run([listener])


def main() -> None:
    """Start a server, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--server", choices=["rljax", "fastapi"], default="rljax")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=5.0, help="Seconds of a line.")
    parser.add_argument("--plain", action="store_true", help="Be the server of FastAPI.")
    given = parser.parse_args()
    if given.plain:
        plain(given.run)
        return
    command = {
        "rljax": [sys.executable, "-m", "rljax", "serve", given.run, "--port", "0"],
        "fastapi": [sys.executable, __file__, given.run, "--plain"],
    }
    server = subprocess.Popen(command[given.server], stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)/act", server.stdout.readline()).group(1))
        uvloop.run(load(port, given.clients, given.seconds, given.every, server.pid))
    finally:
        server.terminate()
        print(f"the server ended with {server.wait(30)}")


if __name__ == "__main__":
    main()
