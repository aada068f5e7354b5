"""The functions that a C file has besides `policy_act`: dense layers and tanh.

A file has only those that it calls. They are written for compilers that vectorise loops over
outputs, and each is there once, so that a small processor has little to store.
"""

from typing import NamedTuple

import numpy as np

from rljax.exports.graph import in_int8

# A rational function with an error below 7e-7, fitted for float32. The clip has a loop of its own,
# because in one loop GCC computes what is clipped on a path of its own, and vectorises nothing.
TANH = """\
static inline void policy_tanh(const float *restrict x, float *restrict y, int n) {
    for (int i = 0; i < n; i++) {
        y[i] = x[i] > 7.9f ? 7.9f : x[i];
        y[i] = y[i] < -7.9f ? -7.9f : y[i];
    }
    for (int i = 0; i < n; i++) {
        const float s = y[i] * y[i];
        y[i] *= (.9999996f + s * (.1287672f + s * (.002896473f + s * 1.080069e-5f)))
            / (1 + s * (.4621f + s * (.02359761f + s * (2.307204e-4f + s * 2.252392e-7f))));
    }
}
"""


class Weights(NamedTuple):
    """Weights [I, O] of a layer, as a C file has them."""

    values: np.ndarray  # float32 or int8: [I, O], or in a sparse layer those that are not 0
    scales: np.ndarray | None  # [O], of int8
    places: np.ndarray | None  # of a sparse layer: for each input, how many and which outputs

    @property
    def tables(self) -> list[np.ndarray]:
        """The arrays, in the order in which the function takes them."""
        return [x for x in (self.values, self.places, self.scales) if x is not None]

    @property
    def function(self) -> str:
        """The name of the function that multiplies with them."""
        places = "" if self.places is None else f"_at_{8 * self.places.itemsize}"
        return f"dense{'' if self.scales is None else '_int8'}{places}"


def compact(weights: np.ndarray) -> Weights:
    """Weights [I, O] of float32 in the form that takes the fewest bytes.

    They are int8 times scales where `in_int8` finds such. Zeros are left out where that saves half
    of the bytes, because a loop over some outputs is not vectorised.
    """
    values, scales = in_int8(weights) or (weights, None)
    full = Weights(values, scales, places=None)
    places: list[int] = []
    for row in full.values:
        (at,) = np.nonzero(row)
        places += [len(at), *at]
    sparse = full._replace(
        values=full.values[full.values != 0],
        places=np.array(places, np.uint8 if weights.shape[1] < 256 else np.uint16),
    )
    sizes = [x.nbytes for x in (sparse.values, sparse.places) if x is not None]
    return sparse if min(sizes) > 0 and 2 * sum(sizes) < full.values.nbytes else full


def dense(weights: Weights, has_rest: bool) -> str:
    """The function of layers with such weights: y = x times weights, plus b.

    `has_rest`: whether a layer has a number of inputs that is no multiple of 4.
    """
    is_whole, is_sparse = weights.scales is not None, weights.places is not None
    kind = "signed char" if is_whole else "float"
    parameters = ["const float *restrict x", f"const {kind} *restrict w"]
    if weights.places is not None:
        parameters.append(f"const unsigned {INDICES[weights.places.dtype.str[1:]]} *restrict at")
    if is_whole:
        parameters.append("const float *restrict scale")
    parameters += ["const float *restrict b", "float *restrict y", "int inputs", "int outputs"]
    each = "for (int j = 0; j < outputs; j++)"
    lines = [
        f"static inline void {weights.function}(",
        f"    {', '.join(parameters[:-4])},",
        f"    {', '.join(parameters[-4:])}) {{",
        f"    {each} y[j] = {'0' if is_whole else 'b[j]'};",
    ]
    if is_sparse:
        lines.append(
            "    for (; inputs > 0; inputs--, x++)\n"
            "        for (int n = *at++; n > 0; n--) y[*at++] += *x * *w++;"
        )
    else:
        lines.append(
            "    for (; inputs >= 4; inputs -= 4, x += 4, w += 4 * outputs)\n"
            f"        {each}\n"
            "            y[j] += x[0] * w[j] + x[1] * w[outputs + j]\n"
            "                + x[2] * w[2 * outputs + j] + x[3] * w[3 * outputs + j];"
        )
        if has_rest:
            lines.append(
                "    for (; inputs > 0; inputs--, x++, w += outputs)\n"
                f"        {each} y[j] += x[0] * w[j];"
            )
    if is_whole:
        lines.append(f"    {each} y[j] = y[j] * scale[j] + b[j];")
    return "\n".join([*lines, "}\n"])


INDICES = {"u1": "char", "u2": "short"}
"""The C type of the places of a sparse layer, without its sign, by numpy's name."""


def table(name: str, array: np.ndarray) -> str:
    """An array as a constant of C."""
    kind = {"i1": "signed char", "f4": "float"}.get(array.dtype.str[1:])
    kind = kind or f"unsigned {INDICES[array.dtype.str[1:]]}"
    write = number if kind == "float" else str
    lines = [""]
    for text in map(write, np.ravel(array)):
        if len(lines[-1]) + len(text) > 98:
            lines.append("")
        lines[-1] += text + ","
    values = "\n".join(lines).rstrip(",")
    return f"static const {kind} {name}[{array.size}] = {{\n{values}}};"


def number(value: float) -> str:
    """A float32 for the values of a table, in the fewest characters that bring it back."""
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    rounded = np.float32(value)
    plain = np.format_float_positional(rounded, unique=True, trim="-")
    mantissa, exponent = np.format_float_scientific(rounded, unique=True, trim="-").split("e")
    sign, plain = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    shortest = min(sign + plain.removeprefix("0"), f"{mantissa}e{int(exponent)}", key=len)
    # C reads a double, which is then rounded once more.
    return shortest if np.float32(float(shortest)) == value else f"{value:.9g}f"
