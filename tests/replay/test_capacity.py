import builtins
import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.errors import UsageError
from rljax.replay import capacity, check_memory, size_in_bytes


def test_size_counts_every_array_and_shape():
    tree = {"a": jnp.zeros((3, 5), jnp.uint8), "b": (jax.ShapeDtypeStruct((2, 7), jnp.float32),)}
    assert size_in_bytes(tree) == 15 + 56
    assert size_in_bytes(jnp.zeros((), bool)) == 1


def test_what_is_larger_than_free_memory_is_refused_with_the_arithmetic(monkeypatch):
    monkeypatch.setattr(capacity, "free_memory", lambda device: 3 * 2**30)
    check_memory("buffer_size", 1024, 3 * 2**30)
    message = (
        r"^buffer_size = 4096 does not fit: 4096 rows x 1048576.0 bytes = 4.00 GiB, "
        r"but .*[cC][pP][uU].* has 3.00 GiB free: make buffer_size at most 3072$"
    )
    with pytest.raises(UsageError, match=message):
        check_memory("buffer_size", 4096, 4 * 2**30)
    monkeypatch.setattr(capacity, "free_memory", lambda device: None)
    check_memory("buffer_size", 1, 2**60)


def test_the_default_device_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(capacity, "free_memory", asked.append)
    device = jax.devices("cpu")[-1]
    for default in (None, device, "cpu"):
        with jax.default_device(default):
            check_memory("buffer_size", 1, 1)
    assert asked[1] == device and all(isinstance(each, jax.Device) for each in asked)


def test_free_memory_is_the_device_s_own_or_the_machine_s(monkeypatch):
    device = jax.devices("cpu")[0]
    free = capacity.free_memory(device)
    assert 2**20 < free < 2**50

    def unreadable(*args):
        raise OSError

    monkeypatch.setattr(builtins, "open", unreadable)
    # Fewer bytes: pages that hold files count as available, but not as free.
    assert 2**20 < capacity.free_memory(device) < 2**50
    monkeypatch.setattr(os, "sysconf", unreadable)
    assert capacity.free_memory(device) is None

    stats = {"bytes_limit": 100, "bytes_in_use": 30}
    card = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert capacity.free_memory(card) == 70
    card.memory_stats = lambda: None
    assert capacity.free_memory(card) is None
    assert np.isfinite(free)
