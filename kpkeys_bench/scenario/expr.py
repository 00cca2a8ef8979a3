# SPDX-License-Identifier: GPL-2.0-only
"""Expressions of the scenario language: read by Python's own parser, evaluated by a small walk.

Nothing is handed to ``eval``: only the node types below have a meaning, and numbers stay below
2**64 in size, so an expression can neither do harm nor take long.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kpkeys_bench.errors import ScenarioError

Value = int | float | str | list[int]

_UNIT: Final = re.compile(r"(?<![\w.])(\d{1,9})([KMGT])\b")
#: What the pattern above is rewritten to: as long as before, so that columns stay right.
_SIZE: Final = re.compile(r"([KMGT])(\d{1,9})")
_UNIT_BYTES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LIMIT: Final = 1 << 64
_MAX_DEPTH: Final = 40

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}


@dataclass(frozen=True)
class Place:
    """Where something is written: what an error names."""

    file: str
    line: int
    column: int

    def error(self, message: str) -> ScenarioError:
        """The exception to raise."""
        return ScenarioError(f"{self.file}:{self.line}:{self.column}: {message}")

    def right(self, columns: int) -> "Place":
        """The same line, further to the right."""
        return Place(self.file, self.line, self.column + columns)


@dataclass(frozen=True)
class Expression:
    """A parsed expression and where it stands."""

    text: str
    place: Place
    node: ast.expr

    def at(self, node: ast.AST) -> Place:
        """Where a part of it stands."""
        return self.place.right(getattr(node, "col_offset", 0))


@dataclass(frozen=True)
class Target:
    """Pages by name: all of a list, one, a slice, or some that the seed chooses.

    Attributes
    ----------
    name : str
        The list.
    index : Expression, optional
        One page.
    low, high, step : Expression, optional
        A slice, as Python's.
    is_slice : bool
        Whether the three above mean something.
    any_of : Expression, optional
        How many of those that are there, chosen by the seed.
    place : Place
        Where it is written.
    text : str
        As written.
    """

    name: str
    place: Place
    text: str
    index: Expression | None = None
    low: Expression | None = None
    high: Expression | None = None
    step: Expression | None = None
    is_slice: bool = False
    any_of: Expression | None = None


class Scope(Protocol):
    """What an expression's names mean."""

    def value(self, name: str) -> Value | Mapping[str, Value] | None:
        """A variable or counter, a mark, or None if there is no such name."""

    def call(self, name: str, args: list[Value | Target]) -> Value:
        """Call a function; ValueError says what is wrong with the arguments."""

    def pages_of(self, size: int) -> int:
        """How many pages so many bytes are."""


FUNCTIONS: Final = {
    "abs": "size of a number",
    "min": "smallest of several",
    "max": "largest of several",
    "round": "to a number of decimals",
    "len": "pages that a name stands for",
    "pfn": "frame of one page",
    "pkey": "protection key of one page in the linear map",
    "unprotected": "pages of a name that do not carry the page tables' key",
    "events": "events of one kind so far",
    "warned": "warnings whose file or condition contains a text",
    "logged": "lines of the log that contain a text",
    "under_way": "1 if a task has begun something and not finished it",
    "stopped": "1 if the machine stopped with a message that contains a text",
    "frames_with_pkey": "frames of all RAM with this pkey",
    "free_in_split": "free buddy chunks of an order in blocks whose leaf is split",
    "split_refills": "refills of a whole block whose leaf was split before",
    "idle_blocks": "blocks fetched of which no page is in use; with a hand-out order",
}
"""Functions and what they return."""

_TARGET_FUNCTIONS: Final = frozenset({"len", "pfn", "pkey", "unprotected"})


def parse(text: str, place: Place) -> Expression:
    """Read an expression.

    Raises
    ------
    ScenarioError
        With the column at which it stops making sense.
    """
    if not text.strip():
        raise place.error("an expression is missing: write one such as refills == 2")
    if reserved := _SIZE.search(_UNIT.sub(lambda m: " " * len(m[0]), text)):
        raise place.right(reserved.start()).error(
            f"{reserved[0]}: sizes are written with the unit last, such as 2M"
        )
    source = _UNIT.sub(r"\2\1", text)
    try:
        with warnings.catch_warnings():
            # Python's opinion of its own literals helps nobody here
            warnings.simplefilter("ignore")
            node = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        # 0: it ends too early
        column = error.offset - 1 if error.offset else len(text)
        reason = (error.msg or "it does not parse").removeprefix("invalid syntax. ")
        raise place.right(column).error(
            f"{text.strip()!r} is no expression ({reason}): use numbers, counters, + - * // % , "
            "comparisons, and, or, not"
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise place.error("the expression is too long or too deep: split it with let") from None
    expression = Expression(text, place, node)
    _check(expression, node, 0)
    return expression


#: Kinds of node, and whether one of a kind has a meaning.
_ALLOWED: Final[dict[type[ast.expr], Callable[[Any], bool]]] = {
    ast.Constant: lambda node: type(node.value) in {int, float, str},
    ast.Name: lambda _: True,
    ast.BinOp: lambda node: type(node.op) in _BINARY,
    ast.UnaryOp: lambda node: type(node.op) in _UNARY,
    ast.BoolOp: lambda _: True,
    ast.IfExp: lambda _: True,
    ast.Compare: lambda node: all(type(op) in _COMPARE for op in node.ops),
    ast.Attribute: lambda node: isinstance(node.value, ast.Name),
    ast.Subscript: lambda node: isinstance(node.value, (ast.Name, ast.Attribute)),
    ast.Call: lambda node: isinstance(node.func, ast.Name) and not node.keywords,
}


def _check(expression: Expression, node: ast.expr, depth: int) -> None:
    """Refuse what has no meaning here."""
    if depth > _MAX_DEPTH:
        raise expression.at(node).error("the expression is too deep: split it with let")
    if not _ALLOWED.get(type(node), lambda _: False)(node):
        raise expression.at(node).error(
            "this has no meaning here: use numbers, counters, + - * // %, comparisons, and, or, "
            "not, NAME[...] and the functions of docs/scenarios.md"
        )
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id not in FUNCTIONS
    ):
        raise expression.at(node).error(
            f"there is no function {node.func.id}: there are {', '.join(sorted(FUNCTIONS))}"
        )
    for child in _operands(node):
        _check(expression, child, depth + 1)


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        yield from node.args
    elif isinstance(node, ast.Subscript):
        yield node.value
        parts = (
            (node.slice.lower, node.slice.upper, node.slice.step)
            if isinstance(node.slice, ast.Slice)
            else (node.slice,)
        )
        yield from (part for part in parts if part is not None)
    else:
        yield from (c for c in ast.iter_child_nodes(node) if isinstance(c, ast.expr))


def names(expression: Expression) -> Iterator[tuple[str, Place]]:
    """Every name it uses that is no function, with its place."""
    for node in ast.walk(expression.node):
        if isinstance(node, ast.Name) and node.id not in FUNCTIONS and not _SIZE.fullmatch(node.id):
            yield node.id, expression.at(node)


def functions(expression: Expression) -> set[str]:
    """The functions that it calls."""
    return {
        node.func.id
        for node in ast.walk(expression.node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def parts(expression: Expression) -> list[Expression]:
    """The smallest parts of an expression that have a value of their own, each once."""
    found: dict[str, Expression] = {}

    def visit(node: ast.expr) -> None:
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call)):
            text = _source(node)
            # what an error would name is the whole expression
            found.setdefault(text, Expression(text, expression.place, node))
            return
        for child in _operands(node):
            visit(child)

    visit(expression.node)
    return list(found.values())


def target_of(expression: Expression, node: ast.expr | None = None) -> Target:
    """Read an expression as pages by name: ``p``, ``p[3]`` or ``p[0:10]``.

    Raises
    ------
    ScenarioError
        If it is anything else.
    """
    node = node or expression.node
    place = expression.at(node)

    def part(inner: ast.expr | None) -> Expression | None:
        return None if inner is None else Expression(expression.text, expression.place, inner)

    match node:
        case ast.Name(id=name):
            return Target(name, place, name)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Slice() as cut):
            return Target(
                name,
                place,
                _source(node),
                low=part(cut.lower),
                high=part(cut.upper),
                step=part(cut.step),
                is_slice=True,
            )
        case ast.Subscript(value=ast.Name(id=name), slice=index):
            return Target(name, place, _source(node), index=part(index))
        case _:
            raise place.error("name pages here: p, p[3] or p[0:10]")


def _source(node: ast.expr) -> str:
    return _SIZE.sub(r"\2\1", ast.unparse(node)).replace(" ", "")


def evaluate(expression: Expression, scope: Scope) -> Value:
    """What it is worth now.

    Raises
    ------
    ScenarioError
        If a name or an index does not exist, or it divides by zero.
    """
    return _Evaluation(expression, scope).value(expression.node)


def whole(expression: Expression, scope: Scope, limit: int, least: int = 0) -> int:
    """Its value, which must be a whole number from `least` to `limit`."""
    value = evaluate(expression, scope)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or not least <= value <= limit:
        raise expression.place.error(
            f"{expression.text.strip()} is {value!r}: give a whole number from {least} to {limit}"
        )
    return int(value)


class _Evaluation:
    def __init__(self, expression: Expression, scope: Scope) -> None:
        self._expression = expression
        self._scope = scope

    def _error(self, node: ast.AST, message: str) -> ScenarioError:
        return self._expression.at(node).error(message)

    def _number(self, node: ast.expr) -> int | float:
        value = self.value(node)
        if isinstance(value, (int, float)):
            return value
        what = "text" if isinstance(value, str) else "several numbers: choose one with [N]"
        raise self._error(node, f"a number is wanted here, this is {what}")

    def _bounded(self, node: ast.expr, value: float) -> int | float:
        if isinstance(value, bool):
            return int(value)
        if abs(value) >= _LIMIT:
            raise self._error(node, "the result is 2**64 or more: keep numbers smaller")
        return value

    def value(self, node: ast.expr) -> Value:
        # _check() let no other kinds of node pass
        method: Callable[[Any], Value] = getattr(self, f"_{type(node).__name__.lower()}")
        return method(node)

    def _constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, str):
            return node.value
        assert isinstance(node.value, (int, float))  # noqa: S101 - _check() saw to it
        return self._bounded(node, node.value)

    def _name(self, node: ast.Name) -> Value:
        if size := _SIZE.fullmatch(node.id):
            return self._scope.pages_of(int(size[2]) * _UNIT_BYTES[size[1]])
        value = self._scope.value(node.id)
        if value is None:
            raise self._error(
                node, f"{node.id} is not known: it is no counter, mark or name that was set before"
            )
        if isinstance(value, Mapping):
            raise self._error(node, f"{node.id} is a mark: write {node.id}.COUNTER")
        return value

    def _binop(self, node: ast.BinOp) -> Value:
        try:
            result = _BINARY[type(node.op)](self._number(node.left), self._number(node.right))
        except ZeroDivisionError:
            raise self._error(node.right, "this is 0, and it divides") from None
        except OverflowError:
            raise self._error(node, "the result is too large: keep numbers smaller") from None
        return self._bounded(node, result)

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        return self._bounded(node, _UNARY[type(node.op)](self._number(node.operand)))

    def _boolop(self, node: ast.BoolOp) -> Value:
        every = isinstance(node.op, ast.And)
        return int((all if every else any)(self._number(v) for v in node.values))

    def _ifexp(self, node: ast.IfExp) -> Value:
        return self.value(node.body if self._number(node.test) else node.orelse)

    def _compare(self, node: ast.Compare) -> Value:
        before = self._number(node.left)
        for op, right in zip(node.ops, node.comparators, strict=True):
            after = self._number(right)
            if not _COMPARE[type(op)](before, after):
                return 0
            before = after
        return 1

    def _attribute(self, node: ast.Attribute) -> Value:
        owner = node.value
        assert isinstance(owner, ast.Name)  # noqa: S101 - _check() saw to it
        group = self._scope.value(owner.id)
        if not isinstance(group, Mapping):
            raise self._error(
                node, f"{owner.id} is no mark and no cause: set it with 'mark {owner.id}' first"
            )
        if node.attr not in group:
            raise self._error(node, f"{owner.id} has no {node.attr}: see docs/scenarios.md")
        value: Value = group[node.attr]
        return value

    def _subscript(self, node: ast.Subscript) -> Value:
        if isinstance(node.slice, ast.Slice):
            raise self._error(node.slice, "a slice of counters has no meaning: choose one")
        items = self.value(node.value)
        if not isinstance(items, list):
            raise self._error(node, "this is one number, there is nothing to choose")
        at = self._number(node.slice)
        if not isinstance(at, int) or not 0 <= at < len(items):
            raise self._error(node.slice, f"there is no [{at}]: give 0 to {len(items) - 1}")
        return items[at]

    def _call(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)  # noqa: S101 - _check() saw to it
        name = node.func.id
        values: list[Value | Target] = [
            target_of(self._expression, arg) if name in _TARGET_FUNCTIONS else self.value(arg)
            for arg in node.args
        ]
        try:
            result = self._scope.call(name, values)
        except ScenarioError:
            raise
        except ValueError as error:
            raise self._error(node, f"{name}(): {error}") from None
        except TypeError:
            raise self._error(
                node, f"{name}() does not take these: see docs/scenarios.md for its arguments"
            ) from None
        if isinstance(result, (int, float)):
            return self._bounded(node, result)
        return result
