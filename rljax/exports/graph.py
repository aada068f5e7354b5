"""A jaxpr as a list of few kinds of operations, which a printer turns into another language.

Calls are written out, what does not depend on the inputs is computed, and what no output depends on
is left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from rljax.errors import UsageError
from rljax.networks.jaxprs import called

IDENTITIES = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision")


@dataclass(eq=False)
class Value:
    """An array; a dimension of its shape is symbolic where the batch is."""

    shape: tuple[Any, ...]
    dtype: Any
    constant: Any = None

    @property
    def array(self) -> np.ndarray:
        """What a constant is."""
        return np.asarray(self.constant)


@dataclass(eq=False)
class Node:
    """One operation, by the name of its primitive, with one output."""

    op: str
    inputs: Sequence[Value]
    output: Value
    params: dict[str, Any] = field(default_factory=dict)
    layer: str = ""  # by its names in linen, where it has some


@dataclass(frozen=True)
class Graph:
    """Operations in an order in which each comes after those that it reads."""

    inputs: list[Value]
    outputs: list[Value]
    nodes: list[Node]


def simplified(closed: Any) -> Graph:
    """The graph of a closed jaxpr."""
    inputs = [Value(v.aval.shape, v.aval.dtype) for v in closed.jaxpr.invars]
    nodes: list[Node] = []
    outputs = _inlined(closed.jaxpr, closed.consts, inputs, nodes, "")
    needed = set(map(id, outputs))
    alive = []
    for node in reversed(nodes):
        if id(node.output) in needed:
            alive.append(node)
            needed |= set(map(id, node.inputs))
    return Graph(inputs, outputs, _with_dense_layers(alive[::-1], outputs))


def _with_dense_layers(nodes: list[Node], outputs: Sequence[Value]) -> list[Node]:
    """The same operations, with products with constant weights [I, O] as `dense`.

    The inputs of `dense` are x [..., I], the weights, and the biases [O] that are added to it.
    """
    uses = Counter(id(value) for node in nodes for value in node.inputs)
    uses.update(map(id, outputs))
    added = {id(value): node for node in nodes if node.op in ADDS for value in node.inputs}
    found, replaced = [], set()
    for node in nodes:
        if id(node) in replaced:
            continue
        if _is_dense(node):
            output, bias = node.output, None
            if uses[id(output)] == 1 and (add := added.get(id(output))) is not None:
                bias = _biases(add, output)
                if bias is not None:
                    replaced.add(id(add))
                    output = add.output
            if bias is None:
                bias = Value((output.shape[-1],), output.dtype, np.zeros(output.shape[-1:], "f4"))
            node = Node("dense", [*node.inputs, bias], output, {}, node.layer)
        found.append(node)
    return found


ADDS = ("add", "add_any")


def _is_dense(node: Node) -> bool:
    if node.op != "dot_general" or node.inputs[1].constant is None:
        return False
    (over_x, over_w), (batch_x, _) = node.params["dimension_numbers"]
    x, weights = node.inputs
    return (
        (len(weights.shape), tuple(over_w), tuple(batch_x)) == (2, (0,), ())
        and tuple(over_x) == (len(x.shape) - 1,)
        and weights.dtype == x.dtype == np.float32
    )


def _biases(add: Node, product: Value) -> Value | None:
    """What an addition adds to each output of a product [..., O], as [O], if it is constant."""
    (other,) = (value for value in add.inputs if value is not product)
    size = product.shape[-1]
    if other.constant is None or other.shape[-1:] != (size,) or other.array.size != size:
        return None
    if add.output.shape != product.shape:
        return None
    return Value((size,), other.dtype, other.array.reshape(size))


def in_int8(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights [I, O] of float32 as int8 [I, O] times scales [O], or None where they are not.

    They are if each column is a scale times whole numbers of at most 8 bits, to float32's rounding,
    as `networks.quantized_weights` leaves them.
    """
    largest = np.abs(weights).max(0)
    for bits in range(8, 1, -1):
        scales = (largest / np.float32(2 ** (bits - 1) - 1)).astype(np.float32)
        steps = np.round(weights / np.where(scales > 0, scales, 1))
        if (np.abs(steps * scales - weights) <= 4e-7 * largest).all():
            return steps.astype(np.int8), scales
    return None


def unknown(node: Node, language: str) -> UsageError:
    """The error for an operation that a language here has no words for."""
    where = f" of {node.layer}" if node.layer else ""
    return UsageError(
        f"the operation {node.op!r}{where} cannot be written as {language}: export with --to "
        "stablehlo, which has all operations, or use another network"
    )


def _inlined(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value], nodes: list[Node], layer: str
) -> list[Value]:
    """Append the operations of a jaxpr; returns its outputs."""
    values: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    for var, const in zip(jaxpr.constvars, consts, strict=True):
        values[var] = Value(var.aval.shape, var.aval.dtype, const)

    def read(atom: Any) -> Value:
        if isinstance(atom, Literal):
            kind: Any = atom.aval
            return Value(kind.shape, kind.dtype, np.asarray(atom.val, kind.dtype))
        return values[atom]

    for eqn in jaxpr.eqns:
        read_values = [read(atom) for atom in eqn.invars]
        scope = "/".join(filter(None, (layer, str(eqn.source_info.name_stack))))
        if (inner := called(eqn)) is not None:
            outputs = _inlined(*inner, read_values, nodes, scope)
        else:
            outputs = _simple(eqn, read_values, nodes, scope)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _simple(eqn: Any, inputs: list[Value], nodes: list[Node], scope: str) -> list[Value]:
    name, params = eqn.primitive.name, eqn.params
    outputs = [Value(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
    if name in IDENTITIES:
        return inputs
    if name == "convert_element_type" and inputs[0].dtype == outputs[0].dtype:
        return inputs
    if name in ("div", "mul") and inputs[0].shape == outputs[0].shape and _is_one(inputs[1]):
        return inputs[:1]
    sizes = [size for output in outputs for size in output.shape]
    if all(isinstance(size, int | np.integer) for size in sizes) and all(
        value.constant is not None for value in inputs
    ):
        computed = eqn.primitive.bind(*(jnp.asarray(v.constant) for v in inputs), **params)
        computed = computed if eqn.primitive.multiple_results else [computed]
        return [Value(x.shape, x.dtype, x) for x in computed]

    def add(op: str, inputs: list[Value], output: Value, **params: Any) -> Value:
        nodes.append(Node(op, inputs, output, params, scope))
        return output

    if name == "split":
        begin = 0
        for size, output in zip(params["sizes"], outputs, strict=True):
            add("slice", inputs, output, **_part(inputs[0], {params["axis"]: (begin, int(size))}))
            begin += int(size)
    elif name == "gather" and inputs[1].constant is not None and len(inputs[1].shape) == 1:
        # A slice of a batch of a symbolic size.
        numbers = params["dimension_numbers"]
        begins = zip(numbers.start_index_map, inputs[1].array, strict=True)
        parts = {axis: (int(begin), params["slice_sizes"][axis]) for axis, begin in begins}
        part = _part(inputs[0], parts)
        ends = zip(part["start_indices"], part["limit_indices"], strict=True)
        shape = tuple(end if begin == 0 else end - begin for begin, end in ends)
        sliced = add("slice", inputs[:1], Value(shape, outputs[0].dtype), **part)
        add("reshape", [sliced], outputs[0])
    elif name == "gather" and _takes_rows(params["dimension_numbers"], inputs):
        table, index = inputs
        rows = add("reshape", [index], Value(index.shape[:-1], index.dtype))
        add("take", [table, rows], outputs[0])
    elif name == "reshape" and params["dimensions"] is not None:  # Transposed besides.
        raise unknown(Node(name, inputs, outputs[0], params, scope), "ONNX or C")
    elif len(outputs) == 1:
        add(name, inputs, outputs[0], **params)
    else:
        raise unknown(Node(name, inputs, outputs[0], params, scope), "ONNX or C")
    return outputs


def _is_one(value: Value) -> bool:
    return value.constant is not None and bool((value.array == 1).all())


def _part(value: Value, parts: dict[int, tuple[int, Any]]) -> dict[str, Any]:
    """The parameters of a slice: of some axes `(begin, size)`, of the others all."""
    ranges = [parts.get(axis, (0, size)) for axis, size in enumerate(value.shape)]
    return {
        "start_indices": tuple(begin for begin, _ in ranges),
        "limit_indices": tuple(size if begin == 0 else begin + size for begin, size in ranges),
        "strides": None,
    }


def _takes_rows(numbers: Any, inputs: list[Value]) -> bool:
    """Whether a gather is `table[index]`, for an index of any shape."""
    table, index = (len(value.shape) for value in inputs)
    return (
        numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
        and not numbers.operand_batching_dims
        and numbers.offset_dims == tuple(range(index - 1, index + table - 2))
    )


def is_symbolic(size: Any) -> bool:
    """Whether a dimension depends on the size of a batch that may vary."""
    return not isinstance(size, int | np.integer)


def traced_graph(policy: Any, batch: Any) -> Graph:
    """The graph of an `Interface`, for batches of a size that may be symbolic."""
    with jax.default_matmul_precision("highest"):
        return simplified(policy.traced(batch))
