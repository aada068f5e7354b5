"""A graph as an ONNX model, whose batch may vary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rljax.exports.graph import Graph, Node, Value, in_int8, is_symbolic, unknown
from rljax.exports.interface import Interface

OPSET, IR_VERSION = 17, 8  # Of 2022: what runs models has them since then.
SAME = {
    "add": "Add",
    "add_any": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "eq": "Equal",
    "not": "Not",
    "and": "And",
    "or": "Or",
}
"""Primitives that are one operator with the same operands."""
OF_BOOLEANS = ("not", "and", "or")


def model(policy: Interface, graph: Graph, about: str) -> bytes:
    """The file. The graph is that of a batch of a symbolic size; `about` describes the model.

    Raises UsageError for an operation that is not known here, naming it and its layer.
    """
    return _Printer(policy, graph).bytes(about)


class _Printer:
    def __init__(self, policy: Interface, graph: Graph) -> None:
        self.policy, self.graph = policy, graph
        self.names: dict[int, str] = {}
        self.constants: dict[tuple, str] = {}
        self.initializers: list[Any] = []
        self.nodes: list[Any] = []
        self.count = 0

    def bytes(self, about: str) -> bytes:
        from onnx import checker, helper

        def described(argument: Any) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(argument.dtype))
            return helper.make_tensor_value_info(argument.name, kind, ["batch", *argument.shape])

        for argument, value in zip(self.policy.inputs, self.graph.inputs, strict=True):
            self.names[id(value)] = argument.name
        for node in self.graph.nodes:
            self.names[id(node.output)] = self.printed(node)
        for argument, value in zip(self.policy.outputs, self.graph.outputs, strict=True):
            name = self.name(value)
            if value.constant is not None:  # An action that depends on nothing.
                name = self.add("Expand", name, self.shape([self.batch(), *argument.shape]))
            self.nodes.append(helper.make_node("Identity", [name], [argument.name]))
        made = helper.make_model(
            helper.make_graph(
                self.nodes,
                "policy",
                [described(each) for each in self.policy.inputs],
                [described(each) for each in self.policy.outputs],
                self.initializers,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="rljax",
            doc_string=about,
        )
        checker.check_model(made)
        return made.SerializeToString()

    # Names

    def name(self, value: Value) -> str:
        if id(value) not in self.names:
            self.names[id(value)] = self.constant(value.array)
        return self.names[id(value)]

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        key = (array.tobytes(), array.shape, array.dtype.str)
        if key not in self.constants:
            name = self.constants[key] = f"w{len(self.constants)}"
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return self.constants[key]

    def integers(self, numbers: Sequence[int]) -> str:
        return self.constant(np.array(numbers, np.int64))

    def number(self, number: float, like: Value) -> str:
        return self.constant(np.array(number, like.dtype))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator; returns the name of its output."""
        from onnx import helper

        self.count += 1
        output = f"t{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def batch(self) -> str:
        """The size of the batch, int64 [1]."""
        return self.add("Shape", self.policy.inputs[0].name, start=0, end=1)

    def shape(self, sizes: Sequence[Any]) -> str:
        """A shape, some of whose sizes are names of int64 [1]."""
        parts = [s if isinstance(s, str) else self.integers([s]) for s in sizes]
        return self.add("Concat", *parts, axis=0)

    # Operations

    def printed(self, node: Node) -> str:
        if node.op in OF_BOOLEANS and node.output.dtype != np.bool_:
            raise unknown(node, "ONNX")
        if node.op == "dense":
            return self.dense(node)
        names = [self.name(value) for value in node.inputs]
        if node.op in SAME:
            return self.add(SAME[node.op], *names)
        method = getattr(self, f"op_{node.op}", None)
        if method is None:
            raise unknown(node, "ONNX")
        return method(node, *names)

    def op_ne(self, node: Node, x: str, y: str) -> str:
        return self.add("Not", self.add("Equal", x, y))

    def op_rsqrt(self, node: Node, x: str) -> str:
        return self.add("Reciprocal", self.add("Sqrt", x))

    def op_square(self, node: Node, x: str) -> str:
        return self.add("Mul", x, x)

    def op_integer_pow(self, node: Node, x: str) -> str:
        return self.add("Pow", x, self.number(node.params["y"], node.output))

    def op_log1p(self, node: Node, x: str) -> str:
        return self.add("Log", self.add("Add", x, self.number(1, node.output)))

    def op_expm1(self, node: Node, x: str) -> str:
        return self.add("Sub", self.add("Exp", x), self.number(1, node.output))

    def op_is_finite(self, node: Node, x: str) -> str:
        return self.add("Not", self.add("Or", self.add("IsNaN", x), self.add("IsInf", x)))

    def op_clamp(self, node: Node, low: str, x: str, high: str) -> str:
        return self.add("Min", self.add("Max", x, low), high)

    def op_select_n(self, node: Node, which: str, *cases: str) -> str:
        if len(cases) != 2:
            raise unknown(node, "ONNX")
        return self.add("Where", which, cases[1], cases[0])

    def op_convert_element_type(self, node: Node, x: str) -> str:
        return self.cast(x, node.output.dtype)

    def cast(self, x: str, dtype: Any) -> str:
        from onnx import helper

        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def op_reshape(self, node: Node, x: str) -> str:
        return self.reshaped(node, x, node.output.shape)

    op_squeeze = op_expand_dims = op_reshape

    def reshaped(self, node: Node, x: str, shape: Sequence[Any]) -> str:
        sizes = [-1 if is_symbolic(size) else int(size) for size in shape]
        if sizes.count(-1) > 1:
            raise unknown(node, "ONNX")
        return self.add("Reshape", x, self.integers(sizes))

    def op_broadcast_in_dim(self, node: Node, x: str) -> str:
        given, axes = node.inputs[0].shape, node.params["broadcast_dimensions"]
        target = node.output.shape
        seen: list[Any] = [1] * len(target)
        for axis, size in zip(axes, given, strict=True):
            seen[axis] = size
        if tuple(seen) != tuple(given):
            x = self.reshaped(node, x, seen)
        if tuple(seen) == tuple(target):
            return x
        sizes = [
            1 if before == size else self.batch() if is_symbolic(size) else int(size)
            for before, size in zip(seen, target, strict=True)
        ]
        return self.add("Expand", x, self.shape(sizes))

    def op_transpose(self, node: Node, x: str) -> str:
        return self.add("Transpose", x, perm=node.params["permutation"])

    def op_concatenate(self, node: Node, *parts: str) -> str:
        return self.add("Concat", *parts, axis=node.params["dimension"])

    def op_slice(self, node: Node, x: str) -> str:
        begins, ends = node.params["start_indices"], node.params["limit_indices"]
        steps = node.params["strides"] or (1,) * len(begins)
        cut = [
            (axis, begin, end, step)
            for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True))
            if not (begin == 0 and end == node.inputs[0].shape[axis] and step == 1)
        ]
        if any(is_symbolic(end) for _, _, end, _ in cut):
            raise unknown(node, "ONNX")
        if not cut:
            return x
        axes, begins, ends, steps = zip(*cut, strict=True)
        return self.add("Slice", x, *map(self.integers, (begins, ends, axes, steps)))

    def op_pad(self, node: Node, x: str, filling: str) -> str:
        low, high, interior = zip(*node.params["padding_config"], strict=True)
        if any(interior):
            raise unknown(node, "ONNX")
        return self.add("Pad", x, self.integers([*low, *high]), filling)

    def op_take(self, node: Node, table: str, index: str) -> str:
        return self.add("Gather", table, index, axis=0)

    def op_reduce_sum(self, node: Node, x: str) -> str:
        return self.add("ReduceSum", x, self.integers(node.params["axes"]), keepdims=0)

    def reduced(self, node: Node, op: str, x: str) -> str:
        return self.add(op, x, axes=node.params["axes"], keepdims=0)

    def op_reduce_max(self, node: Node, x: str) -> str:
        return self.reduced(node, "ReduceMax", x)

    def op_reduce_min(self, node: Node, x: str) -> str:
        return self.reduced(node, "ReduceMin", x)

    def op_reduce_prod(self, node: Node, x: str) -> str:
        return self.reduced(node, "ReduceProd", x)

    def op_reduce_or(self, node: Node, x: str) -> str:
        return self.cast(self.reduced(node, "ReduceMax", self.cast(x, np.int32)), np.bool_)

    def op_reduce_and(self, node: Node, x: str) -> str:
        return self.cast(self.reduced(node, "ReduceMin", self.cast(x, np.int32)), np.bool_)

    def op_argmax(self, node: Node, x: str, op: str = "ArgMax") -> str:
        (axis,) = node.params["axes"]
        if node.inputs[0].dtype == np.bool_:
            x = self.cast(x, np.int32)
        return self.cast(self.add(op, x, axis=axis, keepdims=0), node.output.dtype)

    def op_argmin(self, node: Node, x: str) -> str:
        return self.op_argmax(node, x, "ArgMin")

    def dense(self, node: Node) -> str:
        x, b = self.name(node.inputs[0]), self.name(node.inputs[2])
        if (narrow := in_int8(node.inputs[1].array)) is None:
            w = self.name(node.inputs[1])
        else:
            # Computed once. With DequantizeLinear, outputs of onnxruntime were off by 0.04.
            steps, scales = map(self.constant, narrow)
            w = self.add("Mul", self.cast(steps, np.float32), scales)
        if len(node.output.shape) == 2:
            return self.add("Gemm", x, w, b)
        return self.add("Add", self.add("MatMul", x, w), b)

    def op_dot_general(self, node: Node, x: str, w: str) -> str:
        (over_x, over_w), (batch_x, batch_w) = node.params["dimension_numbers"]
        ranks = [len(value.shape) for value in node.inputs]
        if (*over_x,) == (ranks[0] - 1,) and (*over_w,) == (0,) and ranks[1] == 2 and not batch_x:
            return self.add("MatMul", x, w)
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        of_x = {axis: next(letters) for axis in range(ranks[0])}
        shared = dict(zip((*over_w, *batch_w), (*over_x, *batch_x), strict=True))
        of_w = {
            axis: of_x[shared[axis]] if axis in shared else next(letters)
            for axis in range(ranks[1])
        }
        batch = [of_x[axis] for axis in batch_x]
        free_x = [name for axis, name in of_x.items() if axis not in (*over_x, *batch_x)]
        free_w = [name for axis, name in of_w.items() if axis not in shared]
        terms = ("".join(part) for part in (of_x.values(), of_w.values(), batch + free_x + free_w))
        return self.add("Einsum", x, w, equation="{},{}->{}".format(*terms))

    def op_conv_general_dilated(self, node: Node, x: str, w: str) -> str:
        given = node.params
        lhs, rhs, out = given["dimension_numbers"]
        if given["batch_group_count"] != 1 or any(size != 1 for size in given["lhs_dilation"]):
            raise unknown(node, "ONNX")
        low, high = zip(*given["padding"], strict=True)
        made = self.add(
            "Conv",
            self.add("Transpose", x, perm=lhs),
            self.add("Transpose", w, perm=rhs),
            strides=given["window_strides"],
            dilations=given["rhs_dilation"],
            pads=[*low, *high],
            group=given["feature_group_count"],
        )
        return self.add("Transpose", made, perm=list(np.argsort(out)))
