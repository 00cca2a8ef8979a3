# SPDX-License-Identifier: GPL-2.0-only
"""Plant one mistake at a time into the mirrors, and see whether a C test notices.

Usage: python tools/mutate.py [--per-function N] [--seed S] [--seconds T] [FILE[:FUNCTION] ...]

The tree is copied first; nothing in place is touched. A mutant is killed when a suite fails,
or takes too long, or when it does not compile. Who survives is printed as FILE:FUNCTION:LINE and as
what was changed, and the exit status is 1. Mutants that mean the same are in EQUIVALENT, with the
reason.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# Not built with the others: they test kpb_api.c and what is there once for all page sizes.
OTHER_SUITES: Final = {"build_16k", "build_64k", "gen", "hist", "host", "kpb_api"}
# Takes seconds: only for mutants that everything else lets pass.
SLOW_SUITES: Final = {"replay"}
# A mutant that loops: so many times what the program takes without one.
PATIENCE: Final = 6
CFLAGS: Final = [
    "-O0",
    "-w",
    "-std=gnu11",
    "-DKPB_DEBUG",
    "-D_GNU_SOURCE",
    "-Icsrc",
    "-Icsrc/include",
    "-Itests/c",
]

RELATIONS: Final = {"<=": "<", "<": "<=", ">=": ">", ">": ">=", "==": "!=", "!=": "=="}
SWAPS: Final = {
    "list_add": "list_add_tail",
    "list_add_tail": "list_add",
    "list_move": "list_move_tail",
    "list_move_tail": "list_move",
    "list_first_entry": "list_last_entry",
    "list_last_entry": "list_first_entry",
    "min": "max",
    "max": "min",
    "ALIGN": "ALIGN_DOWN",
    "ALIGN_DOWN": "ALIGN",
    "true": "false",
    "false": "true",
    "++": "--",
    "--": "++",
    "+=": "-=",
    "-=": "+=",
    "&&": "||",
    "||": "&&",
}
TOKEN: Final = re.compile(
    r'"(?:\\.|[^"])*"|\w+|->|<<=?|>>=?|\+\+|--|[-+]=|<=|>=|==|!=|&&|\|\||[<>]|\S'
)
NUMBER: Final = re.compile(r"(0x[0-9a-f]+|\d+)(u|ul|ull|U|UL|ULL)?", re.ASCII)
# Calls that tell the laboratory what happens, or that only fire where something is wrong already.
LABORATORY: Final = re.compile(
    r"^(kpb_event|kpb_point|kpb_note_|KPB_FRAME|VM_BUG_ON|\(void\)|KPB_EV|might_sleep)"
)

#: (file, function, what was changed): why nothing can tell.
EQUIVALENT: Final[dict[tuple[str, str, str], str]] = {
    (
        "csrc/arch/arm64/mmu.c",
        "split_kernel_leaf_mapping_locked",
        "if (ALIGN_DOWN(kpb_linear_index(addr), PGDIR_SIZE) == | ALIGN_DOWN -> ALIGN",
    ): "an address equals itself rounded up just when it equals itself rounded down",
    (
        "csrc/arch/arm64/mmu.c",
        "split_kernel_leaf_mapping_locked",
        "if (ALIGN_DOWN(kpb_linear_index(addr), PUD_SIZE) == | ALIGN_DOWN -> ALIGN",
    ): "the same",
    (
        "csrc/arch/arm64/mmu.c",
        "split_kernel_leaf_mapping_locked",
        "if (ALIGN_DOWN(addr, CONT_PMD_SIZE) == addr) | ALIGN_DOWN -> ALIGN",
    ): "the same",
    (
        "csrc/arch/arm64/mmu.c",
        "split_kernel_leaf_mapping_locked",
        "if (ALIGN_DOWN(addr, PMD_SIZE) == addr) | ALIGN_DOWN -> ALIGN",
    ): "the same",
    (
        "csrc/arch/arm64/mmu.c",
        "split_kernel_leaf_mapping_locked",
        "if (ALIGN_DOWN(addr, CONT_PTE_SIZE) == addr) | ALIGN_DOWN -> ALIGN",
    ): "the same",
    (
        "csrc/mm/page_alloc.c",
        "per_cpu_pages_init",
        "for (pindex = 0; pindex < NR_PCP_LISTS; pindex++) | < -> <=",
    ): "writes beyond the array, into padding: make asan can tell",
    (
        "csrc/mm/memblock.c",
        "memblock_free_all",
        "zone->first_deferred_pfn = kpb_this->deferred.regions[0].base >> | removed",
    ): "the first section is taken at once, and that sets it",
    (
        "csrc/mm/kpkeys_hardened_pgtables.c",
        "kpb_init_statics",
        "pba->lock = (spinlock_t)__SPIN_LOCK_UNLOCKED(pba.lock); | removed",
    ): "the memory of a new machine is zero, and so is a lock that is not taken",
    (
        "csrc/mm/kpkeys_hardened_pgtables.c",
        "pba_nr_shrinkable",
        "return nr_cached > PBA_UNSHRINKABLE_PAGES ? | > -> >=",
    ): "at the limit the difference is 0, too",
    (
        "csrc/arch/arm64/pageattr.c",
        "kpb_leaf_end",
        "unsigned long none = ~0UL; | 0UL -> 1UL",
    ): "any address beyond the map will do",
    (
        "csrc/arch/arm64/pageattr.c",
        "kpb_change_half",
        "walk_kernel_page_table_range(start, kpb_leaf_end(start + size / 2 - 1), | 1 -> 2",
    ): "the last but one byte lies in the same page as the last",
}


@dataclass(frozen=True)
class Mutant:
    """One mistake: the lines [first, end) of a file become others."""

    file: str
    function: str
    first: int
    end: int
    lines: tuple[str, ...]
    what: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What EQUIVALENT knows it by; line numbers change too often."""
        return (self.file, self.function, self.what)


def functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """Name, first line and end of each body: in kernel style braces in column 0 are theirs."""
    for number, line in enumerate(lines):
        if line != "{":
            continue
        head = number - 1
        while lines[head].startswith((" ", "\t")):
            head -= 1
        names = re.findall(r"(\w+)\(", " ".join(lines[head:number]))
        if names:
            yield names[0], number + 1, lines.index("}", number)


def is_code(line: str) -> bool:
    """Whether a line holds code, and code of the mirror at that."""
    text = line.strip()
    return bool(text) and not text.startswith(("/*", "*", "#")) and not LABORATORY.match(text)


def statement_end(lines: list[str], number: int) -> int:
    """The line after the statement that begins here."""
    while not lines[number].rstrip().endswith((";", "{", "}")):
        number += 1
    return number + 1


def token_mutations(line: str) -> Iterator[tuple[str, str]]:
    """Each line that differs in one token, with what was changed."""
    code = line.split("/*", maxsplit=1)[0]
    for match in TOKEN.finditer(code):
        token = match.group()
        number = NUMBER.fullmatch(token)
        others: list[str] = []
        if token in RELATIONS:
            others = [RELATIONS[token]]
        elif token in SWAPS:
            others = [SWAPS[token]]
        elif number:
            value = int(number[1], 0)
            suffix = number[2] or ""
            others = [f"{value + 1}{suffix}"] + ([f"{value - 1}{suffix}"] if value else [])
        for other in others:
            yield (
                line[: match.start()] + other + line[match.end() :],
                f"{code.strip()} | {token} -> {other}",
            )


def mutants_of(file: str, function: str, lines: list[str], first: int, end: int) -> list[Mutant]:
    """Everything that can be planted into one function."""
    found = []
    number = first
    while number < end:
        line = lines[number]
        if not is_code(line):
            # a call of the laboratory may go on over several lines
            number = statement_end(lines, number) if LABORATORY.match(line.strip()) else number + 1
            continue
        for mutated, what in token_mutations(line):
            found.append(Mutant(file, function, number, number + 1, (mutated,), what))
        text = line.strip()
        if re.match(r"(if|} else if|while) \(", text) and text.endswith((")", ") {")):
            head, _, rest = line.partition("(")
            condition, brace = rest.removesuffix("{").rstrip(), " {" if text.endswith("{") else ""
            if condition.count("(") + 1 == condition.count(")"):
                negated = f"{head}(!({condition[:-1]})){brace}"
                found.append(
                    Mutant(file, function, number, number + 1, (negated,), f"{text} | negated")
                )
        if re.match(r"[\w>.\[\]-]+(\(| [-+|&]?= |\+\+|--)", text) and not re.match(
            r"(if|for|while|switch|return|do|else|case)\b", text
        ):
            stop = statement_end(lines, number)
            if lines[stop - 1].endswith(";") and not re.match(r"(static|const|u8|int)\b", text):
                found.append(Mutant(file, function, number, stop, (";",), f"{text} | removed"))
        if re.match(r"(goto \w+|break|continue);", text):
            found.append(Mutant(file, function, number, number + 1, (";",), f"{text} | removed"))
        number += 1
    return found


class Bench:
    """A copy of the tree in which mutants are compiled and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("csrc", "tests/c"):
            shutil.copytree(ROOT / name, folder / name)
        suites = sorted(p.name.removesuffix("_kunit.c") for p in folder.glob("tests/c/*_kunit.c"))
        suites = [name for name in suites if name not in OTHER_SUITES]
        self.write("quick", [name for name in suites if name not in SLOW_SUITES])
        self.write("slow", sorted(SLOW_SUITES & set(suites)))
        self.programs = ("quick", "slow", "build_16k_kunit", "build_64k_kunit")
        # Seconds that a program gets, once it is known what it takes.
        self.limits: dict[str, float] = {}
        # What a suite is linked with; the mutant itself is in the suite's own unit.
        self.objects = [folder / "kunit.o"]
        self.compile("kunit", self.objects[0])
        sources = re.findall(
            r'"(csrc/[^"]*\.c)"', (folder / "csrc/ffi_build.py").read_text(encoding="utf-8")
        )
        for source in sources:
            out = folder / (Path(source).stem + ".base.o")
            self.run(["gcc", *CFLAGS, "-c", "-o", str(out), source], check=True)
            self.objects.append(out)

    def write(self, name: str, suites: list[str]) -> None:
        """A unit that gathers suites, as build_16k_kunit.c does for 16 KB."""
        includes = "".join(f'#include "{suite}_kunit.c"\n' for suite in suites)
        (self.folder / "tests/c" / f"{name}.c").write_text(
            f"#define PAGE_SHIFT 12\n{includes}", encoding="utf-8"
        )

    def run(self, command: list[str], *, check: bool = False, limit: float | None = None) -> int:
        """The exit status of a command; of one that takes longer than the limit, 124."""
        env = {**os.environ, "KPB_SMALL_SCOPE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=limit,
                check=check,
            )
        except subprocess.TimeoutExpired:
            return 124
        return done.returncode

    def compile(self, unit: str, out: Path) -> bool:
        """Whether a unit of tests/c compiles."""
        command = ["gcc", *CFLAGS, "-c", "-o", str(out), f"tests/c/{unit}.c"]
        return self.run(command) == 0

    def fails(self, program: str) -> str:
        """How a program fails; nothing if all its tests pass."""
        out = self.folder / f"{program}.o"
        if not self.compile(program, out):
            return "does not compile"
        binary = self.folder / program
        objects = [str(path) for path in self.objects]
        self.run(["gcc", "-o", str(binary), str(out), *objects, "-lm", "-ldl"], check=True)
        start = time.monotonic()
        status = self.run([str(binary)], limit=self.limits.get(program))
        self.limits.setdefault(program, 1 + PATIENCE * (time.monotonic() - start))
        return program if status else ""

    def killer(self, mutant: Mutant) -> str:
        """Who notices the mutant; nothing if nobody does."""
        path = self.folder / mutant.file
        original = path.read_text(encoding="utf-8")
        lines = original.split("\n")
        lines[mutant.first : mutant.end] = mutant.lines
        path.write_text("\n".join(lines), encoding="utf-8")
        try:
            return next(filter(None, map(self.fails, self.programs)), "")
        finally:
            path.write_text(original, encoding="utf-8")


def choose(wanted: list[str], per_function: int, seed: int) -> list[Mutant]:
    """A sample of the mutants of each function, the same for the same seed."""
    chosen = []
    paths = [*(ROOT / "csrc/mm").glob("*.c"), *(ROOT / "csrc/arch/arm64").glob("*.c")]
    for path in sorted(paths):
        file = str(path.relative_to(ROOT))
        lines = path.read_text(encoding="utf-8").split("\n")
        for function, first, end in functions(lines):
            if wanted and not any(w in (path.name, f"{path.name}:{function}") for w in wanted):
                continue
            found = mutants_of(file, function, lines, first, end)
            rng = random.Random(f"{seed} {file} {function}")
            chosen += rng.sample(found, min(per_function, len(found)))
    return chosen


def main() -> int:
    """Run the sample and print who survives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("wanted", nargs="*", metavar="FILE[:FUNCTION]", help="default: all")
    parser.add_argument("--per-function", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after them")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mutants = choose(args.wanted, args.per_function, args.seed)
    random.Random(args.seed).shuffle(mutants)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kpb-mutate-") as name:
        bench = Bench(Path(name))
        broken = [program for program in bench.programs if bench.fails(program)]
        if broken:
            sys.stderr.write(f"without a mutant, {', '.join(broken)} fails\n")
            return 2
        start = time.monotonic()
        for mutant in mutants:
            if time.monotonic() - start > args.seconds:
                counts["not run"] += 1
                continue
            if mutant.key in EQUIVALENT:
                counts["equivalent"] += 1
                continue
            try:
                killer = bench.killer(mutant)
            except KeyboardInterrupt:
                counts["interrupted"] += 1
                break
            counts[killer or "survives"] += 1
            if not killer:
                sys.stdout.write(
                    f"{mutant.file}:{mutant.function}:{mutant.first + 1}: {mutant.what}\n"
                )
                sys.stdout.flush()
    sys.stdout.write(", ".join(f"{nr} {what}" for what, nr in counts.most_common()) + "\n")
    return 1 if counts["survives"] else 0


if __name__ == "__main__":
    sys.exit(main())
