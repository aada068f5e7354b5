"""Write into docs/agents and docs/cli.md what the code and configs say: nobody writes it twice.

    python scripts/agent_pages.py

A page has regions, from `<!-- KIND ARGUMENTS -->` to `<!-- end -->`, of these kinds:

    code FILE NAME      the source of a function, without those inside it, or of an assignment
    hparams AGENT       its hyperparameters: name, default, and the words beneath the field
    structure AGENT     its other arguments: name, default, and the words of its docstring
    metrics AGENT       the names of what it reports
    configs AGENT       the files of configs/AGENT, and what they set
    keys SECTION ...    the keys of these sections of a config; those at the top are "top"
"""

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import jax

from rljax import agents
from rljax.experiments import config
from rljax.experiments.config import PYTHON_ONLY

ROOT = Path(__file__).parent.parent
PAGES = (*sorted((ROOT / "docs/agents").glob("*.md")), ROOT / "docs/cli.md")
REGION = re.compile(r"(<!-- (\w+) (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
HIDDEN = ("env", *PYTHON_ONLY)  # arguments that are said elsewhere, or that are no choice


def code(file: str, name: str) -> str:
    """The source of the function or assignment `name`, without the functions inside it."""
    source = (ROOT / file).read_text()
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        if name in (getattr(target, "name", getattr(target, "id", None)) for target in targets):
            body = node.body if isinstance(node, ast.FunctionDef) else []
            inner = [part for part in body if isinstance(part, ast.FunctionDef)]
            hidden = {n for part in inner for n in range(part.lineno, part.end_lineno + 2)}
            kept = [n for n in range(node.lineno, node.end_lineno + 1) if n not in hidden]
            return f"```python\n{textwrap.dedent(chr(10).join(lines[n - 1] for n in kept))}\n```\n"
    raise LookupError(f"{file} has no {name}")


def hparams(agent: str) -> str:
    """The hyperparameters of an agent as a table."""
    kind = agents.factory(agent).Hparams
    words = field_docs(kind)
    return table(
        ("name", "default", "what it is"),
        ((f"`{f.name}`", f"`{f.default}`", words[f.name]) for f in fields(kind)),
    )


def structure(agent: str) -> str:
    """The arguments of an agent that compiling closes over, as a table."""
    factory = agents.factory(agent)
    words = argument_docs(factory)
    chosen = inspect.signature(factory).parameters.values()
    return table(
        ("name", "default", "what it is"),
        (
            (f"`{p.name}`", f"`{p.default!r}`".replace("'", '"'), words[p.name])
            for p in chosen
            if p.name not in HIDDEN
        ),
    )


def config_files(agent: str = "*", root: Path = ROOT) -> list[Path]:
    """The shipped configs of an agent, or of all; search spaces are none."""
    found = (root / "configs").glob(f"{agent}/*.toml")
    return sorted(path for path in found if not path.name.endswith(".sweep.toml"))


def metrics(agent: str) -> str:
    """The names of the metrics that an agent reports with the first of its configs."""
    built = config.load(config_files(agent)[0]).agent()
    reported = jax.eval_shape(lambda key: built.step(built.init(key))[1], jax.random.key(0))
    names = sorted(name for name in reported if not name.startswith("nonfinite/"))
    return textwrap.fill(", ".join(f"`{name}`" for name in names), 100) + "\n"


def configs(agent: str) -> str:
    """The shipped configs of an agent as a table."""
    rows = []
    for path in config_files(agent):
        values = tomllib.loads(path.read_text())
        chosen = {**values.get("structure", {}), **values.get("hparams", {})}
        link = f"[{agent}/{path.stem}](../../configs/{agent}/{path.name})"
        words = ", ".join(f"`{name} = {toml(value)}`" for name, value in chosen.items())
        rows.append((link, values["env"], f"{values['total_env_steps']:,}", words))
    return table(("config", "environment", "env steps", "sets"), rows)


def keys(*sections: str) -> str:
    """The keys of sections of a config as a table."""
    kinds = {"top.": config.Top, **{f"{name}.": kind for name, kind in config.SECTIONS.items()}}
    rows = []
    for section in (f"{name}." for name in sections):
        words = field_docs(kinds[section])
        for key in fields(kinds[section]):
            name = f"{section}{key.name}".removeprefix("top.")
            rows.append((f"`{name}`", f"`{toml(key.default)}`", words[key.name]))
    return table(("key", "default", "what it is"), rows)


def toml(value: object) -> str:
    """A value as a config has it."""
    value = list(value) if isinstance(value, tuple) else value
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def field_docs(kind: type) -> dict[str, str]:
    """Field to the string literal beneath it, those of base classes included."""
    docs = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for field, after in zip(body, body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                docs[field.target.id] = " ".join(after.value.value.split())
    return docs


def argument_docs(factory) -> dict[str, str]:
    """Argument to what the docstring's "Args:" says of it."""
    listed = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(factory), re.DOTALL | re.M)[1]
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", listed, re.DOTALL | re.M)
    return {name: " ".join(words.split()) for name, words in found}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])


KINDS = {f.__name__: f for f in (code, hparams, structure, metrics, configs, keys)}


def filled(page: str) -> str:
    """A page with its regions written anew."""

    def write(match: re.Match) -> str:
        begin, kind, arguments, end = match.groups()
        return f"{begin}{KINDS[kind](*arguments.split())}{end}"

    return REGION.sub(write, page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
