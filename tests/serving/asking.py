"""Asks an application."""

import asyncio

import httpx
import msgpack

MSGPACK = {"content-type": "application/msgpack"}


def answers(app, *requests) -> list[httpx.Response]:
    """What `POST /act` answers to requests that come at once, each the arguments of httpx."""

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await asyncio.gather(*(client.post("/act", **each) for each in requests))

    return asyncio.run(ask())


def packed(message) -> dict:
    """The arguments of httpx for a message in msgpack."""
    return {"content": msgpack.packb(message), "headers": MSGPACK}


def get(app, path) -> httpx.Response:
    """What `GET path` answers."""

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path)

    return asyncio.run(ask())
