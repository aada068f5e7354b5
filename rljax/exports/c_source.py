"""A graph as one file of C99 without dependencies.

All numbers are floats: integers are exact up to 2**24, and booleans are 0 and 1. What only changes
how an array is seen (its axes, a slice, a broadcast) costs nothing: it is a `View`.
"""

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np

from rljax.exports import c_kernels
from rljax.exports.graph import Graph, Node, Value, unknown
from rljax.exports.interface import Interface

UNARY = {
    "neg": "-{0}",
    "abs": "fabsf({0})",
    "sign": "(float)(({0} > 0.0f) - ({0} < 0.0f))",
    "floor": "floorf({0})",
    "ceil": "ceilf({0})",
    "exp": "expf({0})",
    "exp2": "exp2f({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sqrt": "sqrtf({0})",
    "rsqrt": "(1.0f / sqrtf({0}))",
    "erf": "erff({0})",
    "erfc": "erfcf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "square": "({0} * {0})",
    "not": "(float)({0} == 0.0f)",
    "is_finite": "(float)({0} - {0} == 0.0f)",
}
BINARY = {
    "add": "({0} + {1})",
    "add_any": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "max": "({0} > {1} ? {0} : {1})",
    "min": "({0} < {1} ? {0} : {1})",
    "pow": "powf({0}, {1})",
    "lt": "(float)({0} < {1})",
    "le": "(float)({0} <= {1})",
    "gt": "(float)({0} > {1})",
    "ge": "(float)({0} >= {1})",
    "eq": "(float)({0} == {1})",
    "ne": "(float)({0} != {1})",
    "and": "(float)({0} != 0.0f && {1} != 0.0f)",
    "or": "(float)({0} != 0.0f || {1} != 0.0f)",
}
REDUCTIONS = {
    "reduce_sum": ("0.0f", "{0} + {1}"),
    "reduce_prod": ("1.0f", "{0} * {1}"),
    "reduce_max": ("-INFINITY", "{0} > {1} ? {0} : {1}"),
    "reduce_min": ("INFINITY", "{0} < {1} ? {0} : {1}"),
    "reduce_or": ("0.0f", "(float)({0} != 0.0f || {1} != 0.0f)"),
    "reduce_and": ("1.0f", "(float)({0} != 0.0f && {1} != 0.0f)"),
}
TOGETHER = 4  # products that are added to a sum at once, so that it is read and written less
OF_BOOLEANS = ("not", "and", "or")


class View(NamedTuple):
    """An array within a buffer."""

    buffer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements follow each other in the buffer."""
        pairs = zip(self.shape, self.strides, contiguous(self.shape), strict=True)
        return all(size == 1 or stride == usual for size, stride, usual in pairs)

    def at(self, indices: Sequence[str]) -> str:
        """The element at these indices, one for each axis, as C."""
        if not self.buffer.isidentifier():  # A number.
            return self.buffer
        terms = [
            index if stride == 1 else f"{stride} * {index}"
            for index, stride in zip(indices, self.strides, strict=True)
            if stride and index != "0"
        ]
        if self.offset or not terms:
            terms.insert(0, str(self.offset))
        return f"{self.buffer}[{' + '.join(terms)}]"

    def pointer(self, row: int = 0, index: str = "0") -> str:
        """Where it begins, or where the row of this index begins, as C."""
        terms = [self.buffer]
        if self.offset:
            terms.append(str(self.offset))
        if index != "0":
            terms.append(f"{row} * {index}")
        return " + ".join(terms)

    def expanded(self, axes: int) -> "View":
        """Seen with so many axes, new ones of size 1 in front."""
        new = (1,) * (axes - len(self.shape))
        return self._replace(shape=(*new, *self.shape), strides=(*(0 for _ in new), *self.strides))

    def broadcast(self, shape: tuple[int, ...]) -> "View":
        """Seen in a larger shape, of the same number of axes unless it has none."""
        if not self.shape:
            return self._replace(shape=shape, strides=(0,) * len(shape))
        strides = zip(self.shape, self.strides, strict=True)
        return self._replace(
            shape=shape, strides=tuple(0 if size == 1 else stride for size, stride in strides)
        )


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of an array whose elements follow each other."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def constant_bytes(policy: Interface, graph: Graph) -> int:
    """Bytes of the constants of the compiled file: four for each float, one for each int8."""
    printer = _Printer(policy, graph)
    printer.text("")
    return printer.constant_bytes


def source(policy: Interface, graph: Graph, about: str) -> str:
    """The file. The graph is that of a batch of 1; `about` is a line for its first comment.

    Weights that are a scale times whole numbers of 8 bits, for each output, are written as int8.

    Raises UsageError for an operation that is not known here, naming it and its layer.
    """
    return _Printer(policy, graph).text(about)


class _Printer:
    def __init__(self, policy: Interface, graph: Graph) -> None:
        self.policy, self.graph = policy, graph
        self.views: dict[int, View] = {}
        self.constants: dict[bytes, str] = {}
        self.constant_bytes = 0
        self.tables: list[str] = []
        self.functions: dict[str, str] = {}
        self.lines: list[str] = []
        self.now = 0
        # Of each temporary buffer: its size, and the first and last operation that uses it.
        self.sizes: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def text(self, about: str) -> str:
        obs = [each for each in self.policy.inputs if not each.name.startswith("carry")]
        carry = [each for each in self.policy.inputs if each.name.startswith("carry")]
        action = self.policy.outputs[0]
        begin = {"obs": 0, "carry": 0}
        for each, value in zip(self.policy.inputs, self.graph.inputs, strict=True):
            buffer = "carry" if each in carry else "obs"
            strides = contiguous(value.shape)
            self.views[id(value)] = View(buffer, begin[buffer], value.shape, strides)
            begin[buffer] += prod(each.shape)
        for node in self.graph.nodes:
            self.views[id(node.output)] = self.printed(node)
            self.now += 1
        # A carry is written last, because what is written may still read it.
        results = [
            self.copied(view) if view.buffer == "carry" else view
            for view in map(self.view, self.graph.outputs)
        ]
        self.write(View("action", 0, results[0].shape, contiguous(results[0].shape)), results[0])
        at = 0
        for view in results[1:]:
            self.write(View("carry", at, view.shape, contiguous(view.shape)), view)
            at += prod(view.shape)
        return self.assembled(about, obs, carry, action)

    def assembled(self, about: str, obs, carry, action) -> str:
        offsets, work = self.placed()
        # A buffer is called by its place.
        body = re.sub(r"\bt(\d+)\b", lambda t: f"at{offsets[t[0]]}", "\n".join(self.lines))
        initial = np.array([x for leaf in _leaves(self.policy.initial_carry) for x in leaf.flat])
        layout = ", ".join(f"{each.name} {list(each.shape)}" for each in obs)
        needs_math = any(f"{name}(" in body for name in MATH)
        heading = [
            f"/* {about}",
            f"   obs: {layout}. action: {list(action.shape)}.",
            f"   Takes {4 * work} bytes of the stack, and no other memory.",
            f"   cc -std=c99 -O3 -c policy.c{', and link with -lm' if needs_math else ''} */",
        ]
        if needs_math or any(name in body + "".join(self.tables) for name in ("INFINITY", "NAN")):
            heading.append("#include <math.h>")
        sizes = {"OBS": obs, "CARRY": carry, "ACTION": [action]}
        for name, parts in sizes.items():
            heading.append(f"#define POLICY_{name}_SIZE {sum(prod(p.shape) for p in parts)}")
        parts = [
            "\n".join(heading),
            "\n".join(self.tables),
            *map(str.rstrip, self.functions.values()),
        ]
        if carry:
            parts.append(
                "/* The carry with which an episode begins. */\n"
                f"{c_kernels.table('initial', initial.astype(np.float32))}\n"
                "void policy_begin(float *carry) {\n"
                "    for (int i = 0; i < POLICY_CARRY_SIZE; i++) carry[i] = initial[i];\n}"
            )
        head = [
            "/* Returns 1 where obs is out of range or not finite, or a carry is missing. */",
            "int policy_act(const float *obs, float *carry, float *action) {",
        ]
        if work:
            head.append(f"    float work[{work}];")
        head += [f"    float *const at{at} = work + {at};" for at in sorted(set(offsets.values()))]
        head.append("    if (carry == 0) return 1;" if carry else "    (void)carry;")
        head += [
            "    for (int i = 0; i < POLICY_OBS_SIZE; i++)",
            "        if (!(obs[i] - obs[i] == 0)) return 1;",
        ]
        parts.append("\n".join([*head, body, "    return 0;\n}"]))
        return "\n".join(filter(None, parts)) + "\n"

    def placed(self) -> tuple[dict[str, int], int]:
        """Where each temporary buffer begins; those that live at once do not overlap."""
        offsets: dict[str, int] = {}
        total = 0
        for name, size in self.sizes.items():
            live = sorted(
                (offsets[other], self.sizes[other])
                for other in offsets
                if self.last[other] >= self.first[name]
            )
            at = 0
            for begin, length in live:
                if at + size <= begin:
                    break
                at = max(at, begin + length)
            offsets[name] = at
            total = max(total, at + size)
        return offsets, total

    # Views and buffers

    def view(self, value: Value) -> View:
        if id(value) not in self.views:
            self.views[id(value)] = self.constant(np.asarray(value.array, np.float32))
        view = self.views[id(value)]
        if view.buffer in self.last:
            self.last[view.buffer] = self.now
        return view

    def constant(self, array: np.ndarray) -> View:
        flat = np.ravel(array)
        if array.size and (flat == flat[0]).all():
            return View(_literal(flat[0]), 0, array.shape, (0,) * array.ndim)
        return View(self.table(flat), 0, array.shape, contiguous(array.shape))

    def table(self, array: np.ndarray) -> str:
        """The name of a constant array in the file."""
        key = array.dtype.str.encode() + array.tobytes()
        if key not in self.constants:
            name = self.constants[key] = f"w{len(self.constants)}"
            self.tables.append(c_kernels.table(name, array))
            self.constant_bytes += array.nbytes
        return self.constants[key]

    def fresh(self, shape: tuple[int, ...]) -> View:
        name = f"t{len(self.sizes)}"
        self.sizes[name] = prod(shape)
        self.first[name] = self.last[name] = self.now
        return View(name, 0, shape, contiguous(shape))

    def copied(self, view: View) -> View:
        target = self.fresh(view.shape)
        self.write(target, view)
        return target

    # Statements

    def write(self, target: View, *operands: View, formula: str = "{0}") -> None:
        """target[...] = formula of operands[...], element by element."""
        every = merged([target, *(operand.broadcast(target.shape) for operand in operands)])
        target, operands = every[0], tuple(every[1:])

        def statement(indices: Sequence[str]) -> list[str]:
            values = [operand.at(indices) for operand in operands]
            return [f"{target.at(indices)} = {formula.format(*values)};"]

        self.loops(target.shape, statement)

    def loops(
        self, shape: Sequence[int], inside: Callable[[list[str]], list[str]], letter: str = "i"
    ) -> None:
        self.lines += ["    " + line for line in looped(shape, inside, letter)]

    # Operations

    def printed(self, node: Node) -> View:
        if node.op in OF_BOOLEANS and node.output.dtype != np.bool_:
            raise unknown(node, "C")
        if node.op == "div" and not np.issubdtype(node.output.dtype, np.floating):
            raise unknown(node, "C")
        if node.op == "dense":
            return self.dense(node)
        views = [self.view(value) for value in node.inputs]
        formula = UNARY.get(node.op) or BINARY.get(node.op)
        if formula:
            return self.computed(node, views, formula)
        if node.op in REDUCTIONS:
            return self.reduced(node, views[0])
        method = getattr(self, f"op_{node.op}", None)
        if method is None:
            raise unknown(node, "C")
        return method(node, *views)

    def dense(self, node: Node) -> View:
        x, (inputs, outputs) = self.view(node.inputs[0]), node.inputs[1].shape
        weights = c_kernels.compact(node.inputs[1].array)
        function = c_kernels.dense(weights, has_rest=inputs % 4 > 0)
        # With a rest it is longer, and does for all layers.
        self.functions[weights.function] = max(
            self.functions.get(weights.function, ""), function, key=len
        )
        tables = [self.table(array) for array in (*weights.tables, node.inputs[2].array)]
        x, target = self.in_order(x), self.fresh(node.output.shape)

        def call(i: list[str]) -> list[str]:
            pointers = [x.pointer(inputs, i[0]), *tables, target.pointer(outputs, i[0])]
            return [f"{weights.function}({', '.join(pointers)}, {inputs}, {outputs});"]

        self.loops([prod(node.output.shape[:-1])], call)
        return target

    def in_order(self, x: View) -> View:
        """The same array in a buffer whose elements follow each other."""
        return x if x.is_contiguous and x.buffer.isidentifier() else self.copied(x)

    def op_tanh(self, node: Node, x: View) -> View:
        x, target = self.in_order(x), self.fresh(node.output.shape)
        self.functions["policy_tanh"] = c_kernels.TANH
        size = prod(node.output.shape)
        self.lines.append(f"    policy_tanh({x.pointer()}, {target.pointer()}, {size});")
        return target

    def op_logistic(self, node: Node, x: View) -> View:
        half = self.fresh(node.output.shape)
        self.write(half, x, formula="0.5f * {0}")
        target = self.op_tanh(node, half)
        self.write(target, target, formula="0.5f + 0.5f * {0}")
        return target

    def computed(self, node: Node, views: list[View], formula: str) -> View:
        target = self.fresh(node.output.shape)
        self.write(target, *views, formula=formula)
        return target

    def op_convert_element_type(self, node: Node, x: View) -> View:
        old, new = node.inputs[0].dtype, node.output.dtype
        if new == np.bool_:
            return self.computed(node, [x], "(float)({0} != 0.0f)")
        if np.issubdtype(old, np.floating) and not np.issubdtype(new, np.floating):
            return self.computed(node, [x], "truncf({0})")
        return x

    def op_select_n(self, node: Node, which: View, *cases: View) -> View:
        if len(cases) != 2:
            raise unknown(node, "C")
        return self.computed(node, [which, *cases], "({0} != 0.0f ? {2} : {1})")

    def op_clamp(self, node: Node, low: View, x: View, high: View) -> View:
        return self.computed(node, [low, x, high], "({1} < {0} ? {0} : {1} > {2} ? {2} : {1})")

    def op_integer_pow(self, node: Node, x: View) -> View:
        power = node.params["y"]
        product = " * ".join(["{0}"] * abs(power)) or "1.0f"
        return self.computed(node, [x], f"({product})" if power >= 0 else f"(1.0f / ({product}))")

    def op_reshape(self, node: Node, x: View) -> View:
        if x.is_contiguous or not x.buffer.isidentifier():
            return x._replace(shape=node.output.shape, strides=contiguous(node.output.shape))
        return self.op_reshape(node, self.copied(x))

    op_squeeze = op_expand_dims = op_reshape

    def op_broadcast_in_dim(self, node: Node, x: View) -> View:
        shape, axes = node.output.shape, node.params["broadcast_dimensions"]
        strides = [0] * len(shape)
        for axis, size, stride in zip(axes, x.shape, x.strides, strict=True):
            strides[axis] = 0 if size == 1 else stride
        return x._replace(shape=shape, strides=tuple(strides))

    def op_transpose(self, node: Node, x: View) -> View:
        axes = node.params["permutation"]
        return x._replace(shape=node.output.shape, strides=tuple(x.strides[axis] for axis in axes))

    def op_rev(self, node: Node, x: View) -> View:
        for axis in node.params["dimensions"]:
            strides = list(x.strides)
            at = x.offset + (x.shape[axis] - 1) * strides[axis]
            strides[axis] *= -1
            x = x._replace(offset=at, strides=tuple(strides))
        return x

    def op_slice(self, node: Node, x: View) -> View:
        begins = node.params["start_indices"]
        steps = node.params["strides"] or (1,) * len(begins)
        offset = x.offset + sum(b * s for b, s in zip(begins, x.strides, strict=True))
        strides = tuple(step * stride for step, stride in zip(steps, x.strides, strict=True))
        return View(x.buffer, offset, node.output.shape, strides)

    def op_concatenate(self, node: Node, *parts: View) -> View:
        target, axis = self.fresh(node.output.shape), node.params["dimension"]
        at = 0
        for part in parts:
            inside = target._replace(
                offset=target.offset + at * target.strides[axis], shape=part.shape
            )
            self.write(inside, part)
            at += part.shape[axis]
        return target

    def op_pad(self, node: Node, x: View, filling: View) -> View:
        target = self.fresh(node.output.shape)
        self.write(target, filling)
        offset, strides = target.offset, []
        for (low, high, interior), stride in zip(
            node.params["padding_config"], target.strides, strict=True
        ):
            if low < 0 or high < 0:
                raise unknown(node, "C")
            offset += low * stride
            strides.append((interior + 1) * stride)
        self.write(View(target.buffer, offset, x.shape, tuple(strides)), x)
        return target

    def op_take(self, node: Node, table: View, index: View) -> View:
        target = self.fresh(node.output.shape)
        kept = len(index.shape)

        def inside(i: list[str]) -> list[str]:
            number = index.at(i[:kept])
            row = ["(int)" + number, *i[kept:]]
            return [
                f"if ({number} < 0.0f || {number} >= {table.shape[0]}.0f) return 1;",
                f"{target.at(i)} = {table.at(row)};",
            ]

        self.loops(target.shape, inside)
        return target

    def reduced(self, node: Node, x: View) -> View:
        start, formula = REDUCTIONS[node.op]
        target, axes = self.fresh(node.output.shape), node.params["axes"]

        def inside(i: list[str]) -> list[str]:
            def add(j: list[str]) -> list[str]:
                return [f"total = {formula.format('total', x.at(woven(i, j, axes, x)))};"]

            inner = looped([x.shape[axis] for axis in axes], add, "j")
            return [f"float total = {start};", *inner, f"{target.at(i)} = total;"]

        self.loops(target.shape, inside)
        return target

    def op_argmax(self, node: Node, x: View, sign: str = ">") -> View:
        target, axes = self.fresh(node.output.shape), node.params["axes"]

        def inside(i: list[str]) -> list[str]:
            def at(j: str) -> str:
                return x.at(woven(i, [j], axes, x))

            return [
                "int best = 0;",
                f"for (int j = 1; j < {x.shape[axes[0]]}; j++) {{",
                f"    if ({at('j')} {sign} {at('best')}) best = j;",
                "}",
                f"{target.at(i)} = (float)best;",
            ]

        self.loops(target.shape, inside)
        return target

    def op_argmin(self, node: Node, x: View) -> View:
        return self.op_argmax(node, x, "<")

    def op_dot_general(self, node: Node, x: View, w: View) -> View:
        (over_x, over_w), (batch_x, batch_w) = node.params["dimension_numbers"]
        free_x = [axis for axis in range(len(x.shape)) if axis not in (*over_x, *batch_x)]
        free_w = [axis for axis in range(len(w.shape)) if axis not in (*over_w, *batch_w)]
        target = self.fresh(node.output.shape)
        outer = len(batch_x) + len(free_x)
        split = len(batch_x)

        def inside(i: list[str]) -> list[str]:
            def add(*ks: list[str]) -> list[str]:
                """Add the products for several places along the axes that are summed over."""
                at_x = [placed_at([*batch_x, *free_x, *over_x], [*i, *k]) for k in ks]

                def one(j: list[str]) -> list[str]:
                    at_w = [
                        placed_at([*batch_w, *over_w, *free_w], [*i[:split], *k, *j]) for k in ks
                    ]
                    terms = " + ".join(f"x{n} * {w.at(place)}" for n, place in enumerate(at_w))
                    return [f"{target.at([*i, *j])} += {terms};"]

                loop = looped([w.shape[axis] for axis in free_w], one, "j")
                return [*(f"const float x{n} = {x.at(p)};" for n, p in enumerate(at_x)), *loop]

            def sums(k: list[str]) -> list[str]:
                size = x.shape[over_x[-1]] if over_x else 1
                whole = size - size % TOGETHER
                if not whole:
                    return looped([size][: len(over_x)], lambda last: add([*k, *last]), "m")
                several = add(*([*k, f"(m + {n})"] for n in range(TOGETHER)))
                lines = [f"for (int m = 0; m < {whole}; m += {TOGETHER}) {{"]
                lines += ["    " + line for line in several] + ["}"]
                if whole < size:
                    lines.append(f"for (int m = {whole}; m < {size}; m++) {{")
                    lines += ["    " + line for line in add([*k, "m"])] + ["}"]
                return lines

            def zero(j: list[str]) -> list[str]:
                return [f"{target.at([*i, *j])} = 0.0f;"]

            return [
                *looped(target.shape[outer:], zero, "j"),
                *looped([x.shape[axis] for axis in over_x[:-1]], sums, "k"),
            ]

        self.loops(target.shape[:outer], inside)
        return target

    def op_conv_general_dilated(self, node: Node, x: View, w: View) -> View:
        given = node.params
        lhs, rhs, out = given["dimension_numbers"]
        if given["feature_group_count"] * given["batch_group_count"] != 1 or any(
            size != 1 for size in given["lhs_dilation"]
        ):
            raise unknown(node, "C")
        target = self.fresh(node.output.shape)
        steps, dilation, padding = given["window_strides"], given["rhs_dilation"], given["padding"]

        def inside(i: list[str]) -> list[str]:
            def sums(k: list[str]) -> list[str]:
                places = [
                    f"({step} * {i[2 + n]} + {by} * {k[1 + n]} - {pad[0]})"
                    for n, (step, by, pad) in enumerate(zip(steps, dilation, padding, strict=True))
                ]
                of_x = placed_at(lhs, [i[0], k[0], *places])
                of_w = placed_at(rhs, [i[1], k[0], *k[1:]])
                sizes = [x.shape[axis] for axis in lhs[2:]]
                outside = " || ".join(
                    f"{place} < 0 || {place} >= {size}"
                    for place, size, pad in zip(places, sizes, padding, strict=True)
                    if tuple(pad) != (0, 0)
                )
                skip = [f"if ({outside}) continue;"] if outside else []
                return [*skip, f"total += {x.at(of_x)} * {w.at(of_w)};"]

            sizes = [x.shape[lhs[1]], *(w.shape[axis] for axis in rhs[2:])]
            where = placed_at(out, i)
            return [
                "float total = 0.0f;",
                *looped(sizes, sums, "k"),
                f"{target.at(where)} = total;",
            ]

        self.loops([target.shape[axis] for axis in out], inside)
        return target


MATH = sorted(
    set(re.findall(r"\b(\w+f)\(", " ".join([*UNARY.values(), *BINARY.values(), "truncf("])))
)
"""The functions of math.h that formulas call."""


def looped(
    shape: Sequence[int], inside: Callable[[list[str]], list[str]], letter: str
) -> list[str]:
    """Nested loops over a shape; the index of an axis of size 1 is "0"."""
    indices = [f"{letter}{axis}" if size != 1 else "0" for axis, size in enumerate(shape)]
    loops = [
        f"for (int {index} = 0; {index} < {size}; {index}++) {{"
        for index, size in zip(indices, shape, strict=True)
        if size != 1
    ]
    statements = inside(indices)
    if len(statements) == 1:  # No braces are needed.
        loops = [loop.removesuffix(" {") for loop in loops]
        return ["    " * depth + line for depth, line in enumerate([*loops, *statements])]
    lines = ["    " * depth + line for depth, line in enumerate(loops or ["{"])]
    depth = len(lines)
    lines += ["    " * depth + line for line in statements]
    return [*lines, *("    " * level + "}" for level in reversed(range(depth)))]


def merged(views: list[View]) -> list[View]:
    """The same arrays with as few axes as possible, for loops that are as long as possible."""
    shape = views[0].shape
    axes: list[tuple[int, list[int]]] = []  # sizes and, for each view, strides
    for axis, size in enumerate(shape):
        strides = [view.strides[axis] for view in views]
        if size == 1:
            continue
        if axes and all(
            before == stride * size for before, stride in zip(axes[-1][1], strides, strict=True)
        ):
            axes[-1] = axes[-1][0] * size, strides
        else:
            axes.append((size, strides))
    sizes = tuple(size for size, _ in axes)
    return [
        view._replace(shape=sizes, strides=tuple(strides[n] for _, strides in axes))
        for n, view in enumerate(views)
    ]


def woven(outer: list[str], inner: list[str], axes: Sequence[int], x: View) -> list[str]:
    """Indices of all axes: `inner` of these axes, `outer` of the others."""
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    return placed_at([*rest, *axes], [*outer, *inner])


def placed_at(axes: Sequence[int], indices: Sequence[str]) -> list[str]:
    """Indices in the order of the axes they belong to."""
    return [index for _, index in sorted(zip(axes, indices, strict=True))]


def _literal(number: Any) -> str:
    """A float32 as C, with as many digits as bring it back."""
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = f"{np.float32(number):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(x, np.float32) for x in jax.tree.leaves(tree)]
