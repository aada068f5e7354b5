"""Asks an application."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import msgpack


def answers(app, *requests, path="/act") -> list[httpx.Response]:
    """What `POST` is answered to requests that come at once, each the arguments of httpx."""
    return asked(app, "POST", path, requests)


def get(app, path) -> httpx.Response:
    """What `GET` is answered."""
    return asked(app, "GET", path, [{}])[0]


def asked(app, method: str, path: str, requests: Sequence[dict[str, Any]]) -> list[httpx.Response]:
    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await asyncio.gather(*(client.request(method, path, **r) for r in requests))

    return asyncio.run(ask())


def packed(message) -> dict[str, Any]:
    """The arguments of httpx for a message in msgpack."""
    headers = {"content-type": "application/msgpack"}
    return {"content": msgpack.packb(message), "headers": headers}
