# SPDX-License-Identifier: GPL-2.0-only
"""The scenario language: what a ``.kpb`` file says, line by line; see docs/scenarios.md."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kpkeys_bench.errors import ConfigError, ScenarioError
from kpkeys_bench.geometry import parse_bytes
from kpkeys_bench.gfp import GFP_FLAGS
from kpkeys_bench.machine import FAULT_POINTS, POINTS, Region
from kpkeys_bench.scenario.expr import FUNCTIONS, Expression, Place, Target, parse, target_of
from kpkeys_bench.strategy import LINEAR_MAPS, State, parse_refill_orders, parse_state

MAX_FILE_BYTES: Final = 1 << 20
MAX_NESTING: Final = 8
MAX_TASKS: Final = 15
MAX_CPUS: Final = 256
MIGRATETYPES: Final = ("unmovable", "movable", "reclaimable")
CONTEXTS: Final = ("process", "atomic", "memalloc")
DEFAULT_RAM: Final = 64 << 20

_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_TASK: Final = re.compile(r"([A-Za-z_]\w*):(\s|$)")
#: Memblock is done with before there are tasks.
_STOPS: Final = tuple(point for point in POINTS if point != "memblock")
_STOP: Final = re.compile(r"([a-z_]+)(?:\((\w+)\))?")
_SUFFIX: Final = ".kpb"


@dataclass(frozen=True)
class Token:
    """A word of a line and its column."""

    text: str
    place: Place


@dataclass(frozen=True)
class StopAt:
    """Where a task is to stop."""

    point: str
    lock: str | None
    nth: int

    @property
    def text(self) -> str:
        """As one writes it."""
        lock = f"({self.lock})" if self.lock else ""
        nth = f" nth={self.nth}" if self.nth > 1 else ""
        return f"{self.point}{lock}{nth}"


@dataclass(frozen=True)
class MachineSetup:
    """The ``machine`` line: what kind of box."""

    page_size: str = "4K"
    ram: int = DEFAULT_RAM
    allocator: str = "pba"
    refill_orders: tuple[int, ...] | None = None
    allow_any_orders: bool = False
    state: State = field(default_factory=State)
    seed: int = 1
    cpus: int = 4
    memcg_limit: int = 0
    no_pcp: bool = False
    static_pgtables: int = 0
    holes: tuple[Region, ...] = ()
    reserved: tuple[Region, ...] = ()
    memblock_fault: tuple[str, int, int] | None = None
    linear_map: str | None = None
    #: Where the line and its values are written, for errors; by option, "machine" for the line.
    places: dict[str, Place] = field(default_factory=dict, compare=False, repr=False)

    def error(self, option: str, message: str) -> ScenarioError | None:
        """The exception for an option's value; None if nothing of the line is to blame."""
        place = self.places.get(option) or self.places.get("machine")
        return place.error(message) if place is not None else None


@dataclass(frozen=True)
class Statement:
    """One line that does something.

    Attributes
    ----------
    verb : str
        Its first word.
    text : str
        The line without comment and indentation.
    place : Place
        Of its first character.
    task : str, optional
        Who does it.
    args : dict
        What the verb needs, by name.
    stop : StopAt, optional
        Where the task is to stop.
    body : tuple of Statement
        Of a loop.
    """

    verb: str
    text: str
    place: Place
    task: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    stop: StopAt | None = None
    body: tuple["Statement", ...] = ()

    def walk(self) -> Iterator["Statement"]:
        """Itself and all inside it."""
        yield self
        for inner in self.body:
            yield from inner.walk()


@dataclass(frozen=True)
class Script:
    """A whole file.

    Attributes
    ----------
    name : str
        The file without folder and suffix.
    file : str
        As the user named it.
    behaviour, claim : str
        From the ``behaviour`` line; empty if there is none.
    about : str
        The first comment.
    setup : MachineSetup
        From the ``machine`` line.
    body : tuple of Statement
        The rest.
    source : str
        All of it.
    """

    name: str
    file: str
    behaviour: str
    claim: str
    about: str
    setup: MachineSetup
    body: tuple[Statement, ...]
    source: str

    def statements(self) -> Iterator[Statement]:
        """All of them, those in loops included."""
        for statement in self.body:
            yield from statement.walk()


def load(path: str | os.PathLike[str]) -> Script:
    """Read a file.

    Raises
    ------
    ScenarioError
        If it cannot be read, or at the first place that makes no sense.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ScenarioError(
            f"cannot read {os.fspath(path)}: {error.strerror}; 'kpkeys-bench behaviours' lists "
            "the scripts that are shipped"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise ScenarioError(f"{os.fspath(path)}: more than {MAX_FILE_BYTES} bytes: cut it in two")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ScenarioError(
            f"{os.fspath(path)}:{line}:{column}: this is no UTF-8 text: a script is plain text"
        ) from None
    return parse_script(text, os.fspath(path))


def parse_script(text: str, file: str = "<text>") -> Script:
    """Read a script from a string; `file` is what errors name.

    Raises
    ------
    ScenarioError
        At the first place that makes no sense.
    """
    return _Parser(text, file).script()


class _Line:
    """One line: its words, taken from the left."""

    def __init__(self, text: str, place: Place) -> None:
        self.place = place
        self.text = text
        self.tokens = list(_split(text, place))
        self._next = 0

    @property
    def end(self) -> Place:
        return self.place.right(len(self.text.rstrip()))

    def peek(self) -> Token | None:
        return self.tokens[self._next] if self._next < len(self.tokens) else None

    def take(self, what: str) -> Token:
        token = self.peek()
        if token is None:
            raise self.end.error(f"{what} is missing")
        self._next += 1
        return token

    def take_if(self, *texts: str) -> bool:
        rest = [t.text for t in self.tokens[self._next : self._next + len(texts)]]
        if rest != list(texts):
            return False
        self._next += len(texts)
        return True

    def name(self, what: str) -> Token:
        token = self.take(what)
        if not _NAME.fullmatch(token.text) or token.text in FUNCTIONS:
            raise token.place.error(
                f"{token.text!r} cannot be {what}: use letters, digits and _, and no function's "
                "name"
            )
        return token

    def rest(self) -> tuple[str, Place]:
        """All that is left, as text."""
        token = self.peek()
        if token is None:
            return "", self.end
        offset = token.place.column - self.place.column
        self._next = len(self.tokens)
        return _without_comment(self.text)[offset:].rstrip(), token.place

    def done(self) -> None:
        token = self.peek()
        if token is not None:
            raise token.place.error(f"{token.text!r} is not understood here: the line should end")


def _without_comment(text: str) -> str:
    quoted = False
    for i, char in enumerate(text):
        quoted ^= char == '"'
        if char == "#" and not quoted:
            return text[:i]
    return text


def _split(text: str, place: Place) -> Iterator[Token]:
    """Words, at blanks that are in no quotes or brackets."""
    start, depth, quoted = None, 0, False
    body = _without_comment(text)
    for i, char in enumerate([*body, " "]):
        if char == '"':
            quoted = not quoted
        if not quoted:
            depth += (char in "([") - (char in ")]")
        if char.isspace() and ((not quoted and depth <= 0) or i == len(body)):
            if start is not None:
                yield Token(body[start:i], place.right(start))
            start = None
        elif start is None:
            start = i
    if quoted:
        raise place.right(body.rindex('"')).error('a quote that begins here has no end: add "')


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._source = text
        self._behaviour = self._claim = ""
        self._setup: MachineSetup | None = None
        self._tasks: list[str] = []

    def script(self) -> Script:
        # as editors count lines, and not as str.splitlines() does
        lines = self._source.replace("\r\n", "\n").split("\n")
        comments = (line.strip().lstrip("#").strip() for line in lines if line.startswith("#"))
        about = next((c for c in comments if c and not c.startswith("SPDX")), "")
        # bodies that are open, outermost first, each with the line that opened it
        open_bodies: list[tuple[Statement | None, list[Statement]]] = [(None, [])]
        for number, raw in enumerate(lines, 1):
            indent = len(raw) - len(raw.lstrip())
            line = _Line(raw[indent:], Place(self._file, number, indent + 1))
            if not line.tokens:
                continue
            if line.take_if("end"):
                line.done()
                if len(open_bodies) == 1:
                    raise line.place.error("there is no loop to end: remove it")
                opener, body = open_bodies.pop()
                assert opener is not None  # noqa: S101 - only the outermost has none
                closed = Statement(
                    opener.verb, opener.text, opener.place, None, opener.args, None, tuple(body)
                )
                open_bodies[-1][1].append(closed)
                continue
            statement = self._statement(line, fresh=not any(body for _, body in open_bodies))
            if statement is None:
                continue
            if statement.verb in {"repeat", "until"}:
                if len(open_bodies) > MAX_NESTING:
                    raise line.place.error(f"more than {MAX_NESTING} loops within each other")
                open_bodies.append((statement, []))
            else:
                open_bodies[-1][1].append(statement)
        if len(open_bodies) > 1 and (unfinished := open_bodies[-1][0]) is not None:
            raise unfinished.place.error("this loop has no end: add a line 'end'")
        return Script(
            name=Path(self._file).name.removesuffix(_SUFFIX),
            file=self._file,
            behaviour=self._behaviour,
            claim=self._claim,
            about=about,
            setup=self._setup or MachineSetup(),
            body=tuple(open_bodies[0][1]),
            source=self._source,
        )

    def _statement(self, line: _Line, *, fresh: bool) -> Statement | None:
        task = self._task(line)
        verb = line.take("a statement")
        if verb.text in {"behaviour", "machine"} and task is None:
            if not fresh:
                raise verb.place.error(f"{verb.text} belongs to the top of the file")
            getattr(self, f"_read_{verb.text}")(line, verb)
            line.done()
            return None
        method: Callable[[_Line], dict[str, Any]] | None = _VERBS.get(verb.text)
        if method is None:
            raise verb.place.error(
                f"{verb.text!r} is no statement: there are behaviour, machine, {', '.join(_VERBS)}"
            )
        if task is not None and verb.text not in _TASK_VERBS:
            raise verb.place.error(
                f"{verb.text} is done by no task: leave out '{task}:'; tasks can do "
                f"{', '.join(_TASK_VERBS)}"
            )
        if task is None and verb.text == "continue":
            raise verb.place.error("say which task goes on, such as 'A: continue'")
        args = method(line)
        stop = self._stop(line) if task is not None else None
        if (token := line.peek()) is not None and token.text == "stop":
            raise token.place.error("only a task can stop: begin the line with 'A:'")
        line.done()
        text = _without_comment(line.text).strip()
        return Statement(verb.text, text, line.place, task, args, stop)

    def _task(self, line: _Line) -> str | None:
        token = line.peek()
        if token is None or not _TASK.match(token.text + " "):
            return None
        line.take("a task")
        name = token.text[:-1]
        if name not in self._tasks:
            if len(self._tasks) == MAX_TASKS:
                raise token.place.error(f"more than {MAX_TASKS} tasks: use fewer")
            self._tasks.append(name)
        return name

    @staticmethod
    def _stop(line: _Line) -> StopAt | None:
        if not line.take_if("stop", "at"):
            return None
        token = line.take(f"where to stop ({', '.join(_STOPS)})")
        match = _STOP.fullmatch(token.text)
        if not match or match[1] not in _STOPS:
            raise token.place.error(f"{token.text!r} is no point to stop at: {', '.join(_STOPS)}")
        if match[2] and not match[1].startswith("mutex"):
            raise token.place.error(f"{match[1]} is about no lock: leave out ({match[2]})")
        options = _options(line, {"nth"})
        nth = _number(options["nth"], 1 << 31, 1) if "nth" in options else 1
        return StopAt(match[1], match[2], nth)

    def _read_behaviour(self, line: _Line, verb: Token) -> None:
        if self._behaviour:
            raise verb.place.error("there is a behaviour line already: keep one")
        self._behaviour = line.take("an id such as D3").text
        claim = line.peek()
        if claim is not None:
            self._claim = _string(line.take("the claim"))

    def _read_machine(self, line: _Line, verb: Token) -> None:
        if self._setup is not None:
            raise verb.place.error("there is a machine line already: keep one")
        values: dict[str, Any] = {}
        places = {"machine": verb.place}
        while (token := line.peek()) is not None:
            line.take("an option")
            key, equals, text = token.text.partition("=")
            read = _SETUP.get(key)
            if read is None or bool(equals) != (read is not _flag):
                raise token.place.error(
                    f"{token.text!r} is no option of a machine: write "
                    f"{', '.join(k if r is _flag else k + '=...' for k, r in _SETUP.items())}"
                )
            if key in values:
                raise token.place.error(f"{key} is given twice: keep one")
            places[key] = token.place.right(len(key) + 1) if equals else token.place
            try:
                values[key] = read(text)
            except (ConfigError, ValueError) as error:
                raise places[key].error(f"{key}: {error}") from None
        self._setup = MachineSetup(**values, places=places)


# Options of the machine line


def _flag(_: str) -> bool:
    return True


def _count_text(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ConfigError(f"{text[:40]!r}: give a whole number")
    return int(text)


def _cpus(text: str) -> int:
    number = _count_text(text)
    if not 1 <= number <= MAX_CPUS:
        raise ConfigError(f"{number}: give 1 to {MAX_CPUS}")
    return number


def _linear_map(text: str) -> str:
    if text not in LINEAR_MAPS:
        raise ConfigError(f"{text!r}: give {', '.join(LINEAR_MAPS)}")
    return text


def _page_size(text: str) -> str:
    if text.upper() not in {"4K", "16K", "64K"}:
        raise ConfigError(f"{text!r}: arm64 has 4K, 16K, 64K")
    return text.upper()


def _region_list(text: str) -> tuple[Region, ...]:
    regions = []
    for part in text.split(","):
        base, plus, size = part.partition("+")
        if not plus:
            raise ConfigError(f"{part!r}: write START+SIZE from the start of RAM, such as 8M+64K")
        regions.append((parse_bytes(base), parse_bytes(size)))
    return tuple(regions)


def _memblock_fault(text: str) -> tuple[str, int, int]:
    mode, colon, n = text.partition(":")
    if mode not in {"nth", "every", "share"} or not colon or not _count_text(n):
        raise ConfigError(f"{text!r}: write nth:N, every:N or share:PPM")
    return mode, int(n), 1


_SETUP: Final[dict[str, Callable[[str], Any]]] = {
    "page_size": _page_size,
    "ram": parse_bytes,
    "allocator": str,
    "refill_orders": parse_refill_orders,
    "allow_any_orders": _flag,
    "state": parse_state,
    "seed": _count_text,
    "cpus": _cpus,
    "memcg_limit": _count_text,
    "no_pcp": _flag,
    "static_pgtables": _count_text,
    "holes": _region_list,
    "reserved": _region_list,
    "memblock_fault": _memblock_fault,
    "linear_map": _linear_map,
}


# Parts of a statement


def _string(token: Token) -> str:
    if len(token.text) < 2 or token.text[0] != '"' or token.text[-1] != '"':
        raise token.place.error(f'{token.text} should stand in quotes: "..."')
    return token.text[1:-1]


def _number(token: Token, limit: int, least: int = 0) -> int:
    if not token.text.isdecimal() or len(token.text) > 18 or not least <= int(token.text) <= limit:
        raise token.place.error(f"{token.text!r}: give a whole number from {least} to {limit}")
    return int(token.text)


def _expression(token: Token) -> Expression:
    return parse(token.text, token.place)


def _rest_expression(line: _Line) -> Expression:
    return parse(*line.rest())


def _options(line: _Line, keys: set[str], flags: frozenset[str] = frozenset()) -> dict[str, Token]:
    """``key=value`` words and flags, up to ``stop at``."""
    found: dict[str, Token] = {}
    while (token := line.peek()) is not None and token.text != "stop":
        key, equals, value = token.text.partition("=")
        if key not in (keys if equals else flags):
            words = [*(f"{k}=..." for k in sorted(keys)), *sorted(flags)]
            raise token.place.error(
                f"{token.text!r} is not understood here: "
                f"{'write ' + ', '.join(words) if words else 'the line should end'}"
                + (", with blanks only in (...)" if found and not equals else "")
            )
        if key in found:
            raise token.place.error(f"{key} is given twice: keep one")
        if equals and not value:
            raise token.place.right(len(key) + 1).error(f"{key}= lacks its value")
        line.take("an option")
        found[key] = Token(value, token.place.right(len(key) + 1)) if equals else token
    return found


def _required(line: _Line, options: dict[str, Token], key: str) -> Token:
    if key not in options:
        raise line.end.error(f"{key}=... is missing")
    return options[key]


def _choice(token: Token, choices: tuple[str, ...]) -> str:
    if token.text not in choices:
        raise token.place.error(f"{token.text!r}: give {', '.join(choices)}")
    return token.text


def _gfp(token: Token) -> int:
    flags, column = 0, 0
    for name in token.text.split("|"):
        if name not in GFP_FLAGS:
            raise token.place.right(column).error(
                f"{name!r} is no gfp flag: there are {', '.join(GFP_FLAGS)}, joined with |"
            )
        flags |= GFP_FLAGS[name]
        column += len(name) + 1
    return flags


def _target(line: _Line, what: str) -> Target:
    """``p``, ``p[3]``, ``p[0:10]`` or ``p any N``."""
    token = line.take(what)
    target = target_of(_expression(token))
    if not line.take_if("any"):
        return target
    if target.is_slice or target.index is not None:
        raise token.place.error("'any' chooses from a whole list: leave out [...]")
    count = _expression(line.take("how many"))
    return Target(target.name, target.place, f"{target.name} any {count.text}", any_of=count)


def _optional_count(line: _Line) -> Expression | None:
    token = line.peek()
    if token is None or "=" in token.text or token.text in {"stop", "user", "kernel"}:
        return None
    return _expression(line.take("a count"))


# Statements


def _parse_plain(_: _Line) -> dict[str, Any]:
    return {}


def _parse_alloc(line: _Line) -> dict[str, Any]:
    name = line.name("the name of a page")
    count = _optional_count(line)
    options = _options(line, {"gfp", "context", "cpu"}, frozenset({"user", "kernel"}))
    if "user" in options and "kernel" in options:
        raise options["kernel"].place.error("a table is of user or of kernel addresses: keep one")
    return {
        "name": name.text,
        "count": count,
        "gfp": _gfp(options["gfp"]) if "gfp" in options else 0,
        "context": _choice(options["context"], CONTEXTS) if "context" in options else "process",
        "cpu": _number(options["cpu"], 255) if "cpu" in options else 0,
        "kernel": "user" not in options,
    }


def _parse_free(line: _Line) -> dict[str, Any]:
    return {"target": _target(line, "the name of pages")}


def _parse_pin(line: _Line) -> dict[str, Any]:
    name = line.name("the name of pages")
    everything = line.take_if("all")
    count = None if everything else _optional_count(line)
    options = _options(line, {"order", "type", "cpu"})
    return {
        "name": name.text,
        "count": count,
        "all": everything,
        "order": _number(_required(line, options, "order"), 13),
        "type": MIGRATETYPES.index(_choice(options["type"], MIGRATETYPES))
        if "type" in options
        else 0,
        "cpu": _number(options["cpu"], 255) if "cpu" in options else 0,
    }


def _parse_split(line: _Line) -> dict[str, Any]:
    target = _target(line, "the name of a pin")
    options = _options(line, {"first", "pages"})
    return {
        "target": target,
        "first": _expression(_required(line, options, "first")),
        "pages": _expression(_required(line, options, "pages")),
    }


def _parse_set_memory(line: _Line) -> dict[str, Any]:
    options = _options(line, {"first", "pages"})
    return {
        "first": _expression(_required(line, options, "first")),
        "pages": _expression(_required(line, options, "pages")),
    }


def _parse_shrink(line: _Line) -> dict[str, Any]:
    if line.take_if("slab"):
        options = _options(line, {"priority"})
        priority = _number(options["priority"], 12) if "priority" in options else 12
        return {"count": None, "priority": priority}
    return {"count": _expression(line.take("how many pages to scan, or 'slab'")), "priority": 12}


def _parse_order(line: _Line) -> dict[str, Any]:
    options = _options(line, {"order"})
    return {"order": _number(options["order"], 13) if "order" in options else 0}


def _parse_compact(line: _Line) -> dict[str, Any]:
    return {"order": _number(_required(line, _options(line, {"order"}), "order"), 13)}


def _parse_fault(line: _Line) -> dict[str, Any]:
    points = tuple(p for p in FAULT_POINTS if p != "memblock")
    point = _choice(line.take(f"what fails ({', '.join(points)})"), points)
    modes = {"nth", "every", "share"}
    options = _options(line, {*modes, "seed", "orders", "pkey"}, frozenset({"half", "off"}))
    chosen = [m for m in ("nth", "every", "share", "off") if m in options]
    if len(chosen) != 1:
        raise line.end.error("say once when it fails: nth=N, every=N, share=PPM or off")
    mode = chosen[0]
    orders = 0
    if "orders" in options:
        orders = sum(1 << o for o in set(_order_list(options["orders"])))
    for key, owner in (("orders", "alloc_pages"), ("half", "set_pkey"), ("pkey", "set_pkey")):
        if key in options and point != owner:
            raise options[key].place.error(f"{key} goes with {owner} only")
    return {
        "point": point,
        "mode": mode,
        "n": 1 if mode == "off" else _expression(options[mode]),
        "seed": _number(options["seed"], (1 << 63) - 1) if "seed" in options else 0,
        "orders": orders,
        "half": "half" in options,
        "pkey": _number(options["pkey"], 7) if "pkey" in options else -1,
    }


def _order_list(token: Token) -> tuple[int, ...]:
    try:
        return parse_refill_orders(token.text)
    except ConfigError as error:
        raise token.place.error(str(error)) from None


def _parse_repeat(line: _Line) -> dict[str, Any]:
    return {"count": _rest_expression(line)}


def _parse_until(line: _Line) -> dict[str, Any]:
    text, place = line.rest()
    condition, separator, limit = text.rpartition(" limit ")
    if not separator:
        raise line.end.error("'limit N' is missing: a loop has to end")
    offset = len(condition) + len(separator)
    return {"condition": parse(condition, place), "limit": parse(limit, place.right(offset))}


def _parse_mark(line: _Line) -> dict[str, Any]:
    return {"name": line.name("the name of a mark").text}


def _parse_named(line: _Line) -> dict[str, Any]:
    name = line.name("a name")
    if not line.take_if("="):
        place = token.place if (token := line.peek()) else line.end
        raise place.error("'=' is missing: write NAME = EXPRESSION, with blanks around =")
    return {"name": name.text, "value": _rest_expression(line)}


def _parse_expect(line: _Line) -> dict[str, Any]:
    first, second = line.peek(), line.tokens[2] if len(line.tokens) > 2 else None
    if first is not None and first.text == "stopped" and second and second.text.startswith('"'):
        line.take("stopped")
        return {"stopped": _string(line.take("a text"))}
    return {"value": _rest_expression(line)}


def _parse_given(line: _Line) -> dict[str, Any]:
    return {"value": _rest_expression(line)}


def _parse_shown(line: _Line) -> dict[str, Any]:
    if not line.take_if("if"):
        place = token.place if (token := line.peek()) else line.end
        raise place.error("write 'shown if EXPRESSION'")
    return {"value": _rest_expression(line)}


_VERBS: Final[dict[str, Callable[[_Line], dict[str, Any]]]] = {
    "boot": _parse_plain,
    "init": _parse_plain,
    "late_init": _parse_plain,
    "alloc": _parse_alloc,
    "free": _parse_free,
    "pin": _parse_pin,
    "unpin": _parse_free,
    "split": _parse_split,
    "set_memory": _parse_set_memory,
    "shrink": _parse_shrink,
    "reclaim": _parse_order,
    "compact": _parse_compact,
    "drain": _parse_plain,
    "fault": _parse_fault,
    "continue": _parse_plain,
    "repeat": _parse_repeat,
    "until": _parse_until,
    "mark": _parse_mark,
    "let": _parse_named,
    "expect": _parse_expect,
    "given": _parse_given,
    "shown": _parse_shown,
    "figure": _parse_named,
}
_TASK_VERBS: Final = (
    "alloc",
    "free",
    "pin",
    "unpin",
    "split",
    "set_memory",
    "shrink",
    "reclaim",
    "compact",
    "drain",
    "continue",
)
