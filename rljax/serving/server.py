"""An application behind an address of this machine, until a signal ends it."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from rljax.errors import RunError
from rljax.training.interrupts import Interrupts

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SHUTDOWN_SECONDS = 10  # that requests have to end in
KEEP_ALIVE_SECONDS = 60  # that a connection may be idle


def serve(application: "ASGIApp", host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application until Ctrl-C or SIGTERM; requests that are under way are answered.

    Args:
        application: what answers.
        host: a name or an address of this machine.
        port: 0 for one that is free.
        ready: told the address, such as `http://127.0.0.1:8000`.

    Raises RunError for an address that cannot be had.
    """
    import uvicorn

    config = uvicorn.Config(
        application,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    listener = _listener(host, port)
    with listener, Interrupts():  # uvicorn raises a signal again when it has ended.
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}")
        uvicorn.Server(config).run([listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        [(family, *_), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"{host}:{port} cannot be listened at: {reason}; choose another --host or --port"
        ) from None
