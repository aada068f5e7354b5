"""Runs exported policies."""

import ctypes
import shutil
import subprocess

import jax
import jax.export
import numpy as np

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]


def compiled(path):
    """`act(obs, carry) -> (code, action, carry)` of a C file, on flat float32 arrays."""
    library = path.with_suffix(".so")
    command = ["cc", *FLAGS, "-shared", "-fPIC", "-o", str(library), str(path), "-lm"]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    pointer = ctypes.POINTER(ctypes.c_float)

    def address(x):
        return None if x is None else x.ctypes.data_as(pointer)

    def act(obs, carry, size):
        action = np.zeros(size, np.float32)
        carry = None if carry is None else carry.copy()
        obs = np.ascontiguousarray(obs, np.float32)
        return loaded.policy_act(address(obs), address(carry), address(action)), action, carry

    act.library = loaded
    return act


def run_c(path, policy):
    """A function of arrays [B, ...] to arrays [B, ...], by the C file."""
    act = compiled(path)
    is_carry = [each.name.startswith("carry") for each in policy.inputs]
    size = int(np.prod(policy.outputs[0].shape, dtype=int))

    def function(*arrays):
        rows = len(arrays[0])
        flat = [np.asarray(x, np.float32).reshape(rows, -1) for x in arrays]
        obs = np.concatenate([x for x, c in zip(flat, is_carry, strict=True) if not c], 1)
        carried = [x for x, c in zip(flat, is_carry, strict=True) if c]
        carry = np.concatenate(carried, 1) if carried else None
        actions, carries = [], []
        for row in range(rows):
            code, action, after = act(obs[row], None if carry is None else carry[row], size)
            assert code == 0
            actions.append(action)
            carries.append(after)
        outputs, at = [np.stack(actions)], 0
        for x in carried:
            outputs.append(np.stack(carries)[:, at : at + x.shape[1]])
            at += x.shape[1]
        return [
            x.reshape(rows, *each.shape) for x, each in zip(outputs, policy.outputs, strict=True)
        ]

    return function


def run_onnx(path, policy):
    """The same by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    assert names == [each.name for each in policy.inputs] and names[0].startswith("obs")
    assert [each.name for each in session.get_outputs()][0] == "action"
    return lambda *arrays: session.run(None, dict(zip(names, map(np.asarray, arrays), strict=True)))


def run_stablehlo(path, policy):
    """The same by what `jax.export` reads."""
    loaded = jax.export.deserialize(bytearray(path.read_bytes()))
    return jax.jit(loaded.call)


COMPILER = shutil.which("cc")
RUN = {"onnx": run_onnx, "stablehlo": run_stablehlo, **({"c": run_c} if COMPILER else {})}
