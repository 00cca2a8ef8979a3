# SPDX-License-Identifier: GPL-2.0-only
"""Allocator files: compiled, kept, diagnosed, loaded privately, compared with the mirrors."""

import hashlib
import json
import multiprocessing
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from kpkeys_bench import (
    ConfigError,
    Machine,
    Setup,
    Strategy,
    checkup,
    compare,
    diff,
    door,
    geometry,
    parse_workload,
    run,
)
from kpkeys_bench.cli import main
from kpkeys_bench.errors import AllocatorError, IsolationError
from kpkeys_bench.report import with_labels
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE

FILES = Path(__file__).parent / "allocators"
BROKEN = FILES / "broken"
V5 = FILES / "v5" / "kpkeys_hardened_pgtables.c"
V6 = FILES / "v6" / "kpkeys_hardened_pgtables.c"
V7 = FILES / "v7" / "kpkeys_hardened_pgtables.c"
PATCHED = FILES / "patched" / "recheck.c"
CRASHES = BROKEN / "crashes.c"
LOOPS = BROKEN / "loops.c"

PAGE_SIZES = ("4K", "16K", "64K")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
RAM = 256 << 20

ALLOCATOR = """
#include <linux/gfp.h>
#include <linux/kpkeys.h>
#include <linux/mm.h>
struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	return alloc_page(gfp);
}
void kpkeys_pgtable_free(struct page *page)
{
	__free_page(page);
}
"""

#: What stands in a file, its line, and the kind and the name that it must be diagnosed as.
MISSING = [
    ("static int f(void) { return somewhere(1); }", "function", "somewhere"),
    ("static int f(void) { return nr_somewhere; }", "name", "nr_somewhere"),
    ("static bool f(void) { return WARN_ON(nr_somewhere > 1); }", "name", "nr_somewhere"),
    ("static gfp_t f(void) { return GFP_KERNEL | __GFP_SOMEWHERE; }", "name", "__GFP_SOMEWHERE"),
    ("static pgoff_t f;", "type", "pgoff_t"),
    ("static int f(struct folio *g) { return g->x; }", "type", "struct folio"),
    ("static struct folio f;", "type", "struct folio"),
    ("static int f(struct page *p) { return p->memcg_data; }", "member", "struct page.memcg_data"),
    (
        "static bool f(struct page *p) { return VM_WARN_ON(p->memcg_data); }",
        "member",
        "struct page.memcg_data",
    ),
    ("#include <linux/rhashtable.h>", "header", "linux/rhashtable.h"),
    ("static void f(struct mutex *m) { guard(rwsem)(m); }", "name", "guard(rwsem)"),
    ("static int __init_or_module f(void) { return 0; }", "name", "__init_or_module"),
    ('MODULE_LICENSE("GPL");', "name", "MODULE_LICENSE"),
    ("static DEFINE_PER_CPU(int, f);", "name", "DEFINE_PER_CPU"),
    ("subsys_initcall_sync(kpkeys_pgtable_free);", "name", "subsys_initcall_sync"),
    ("void f(void); int g(void) { f(); return 0; }", "symbol", "f"),
]


@pytest.fixture
def written(tmp_path):
    """Write an allocator file that has something more."""

    def write(extra="", name="mine.c"):
        path = tmp_path / name
        path.write_text(ALLOCATOR + extra)
        return path

    return write


def _ops(kind, slots):
    ops = np.zeros(len(slots), dtype=OP_DTYPE)
    ops["kind"], ops["slot"] = kind, slots
    return ops


def _booted(source, **options):
    machine = Machine(Strategy(str(source)), ram=RAM, **options)
    machine.boot()
    machine.set_slots(2000)
    return machine


# --- compiling and keeping ------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_headers_have_every_name_that_the_kernels_files_use(monkeypatch, compiler, page_size):
    monkeypatch.setenv("CC", compiler)
    compiled = door.compile_file(FILES / "all_names.c", page_size)
    assert compiled.output == ""
    assert all(door.defined(compiled.path).values())


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("source", [V5, V6, V7, PATCHED, door.mirror_source()], ids=str)
def test_files_compile_without_a_warning(monkeypatch, compiler, source):
    monkeypatch.setenv("CC", compiler)
    for page_size in PAGE_SIZES:
        assert door.compile_file(source, page_size).output == ""


def test_file_is_compiled_once_and_again_when_it_changes(written, monkeypatch):
    source = written()
    first = door.compile_file(source, "4K")
    again = door.compile_file(source, "4k")
    assert (first.cached, again.cached) == (False, True)
    assert first.path == again.path
    assert door.compile_file(source, "16K").path != first.path
    source.write_text(source.read_text() + "/* changed */\n")
    assert not door.compile_file(source, "4K").cached
    monkeypatch.setattr(door, "_FLAGS", (*door._FLAGS, "-DX"))
    assert not door.compile_file(source, "4K").cached


def test_header_beside_the_file_is_part_of_it(written):
    source = written('#include "beside.h"\nint x(void) { return BESIDE; }\n')
    header = source.with_name("beside.h")
    header.write_text("#define BESIDE 1\n")
    first = door.compile_file(source, "4K")
    header.write_text("#define BESIDE 2\n")
    again = door.compile_file(source, "4K")
    assert not again.cached
    assert again.path != first.path


def test_variant_is_the_hash_of_the_file(written):
    source = written()
    strategy = Strategy(str(source))
    assert strategy.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert strategy.variant == strategy.sha256[:12]


def test_file_that_changes_under_a_run_is_noticed(written):
    source = written()
    strategy = Strategy(str(source))
    source.write_text(source.read_text() + "\n")
    with pytest.raises(AllocatorError, match="has changed"):
        strategy.compiled("4K")


@pytest.mark.parametrize("name", ["-o.c", "with space.c", "quote'.c", "ä.c"])
def test_odd_file_names_do_no_harm(written, name):
    assert door.compile_file(written(name=name), "4K").path.exists()


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("KPB_CACHE", str(tmp_path / "a"))
    assert door.cache_dir() == tmp_path / "a"
    monkeypatch.delenv("KPB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert door.cache_dir() == tmp_path / "b" / "kpkeys_bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert door.cache_dir() == tmp_path / "c" / ".cache" / "kpkeys_bench"


def test_cache_that_cannot_be_made_is_replaced(written, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KPB_CACHE", str(tmp_path / "file" / "cache"))
    folder = door.cache_dir()
    assert not folder.is_relative_to(tmp_path)
    assert door.compile_file(written(), "4K").path.parent == folder


def test_hash_covers_what_is_included_however_that_is_written(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.c").write_text('#include"my.h"\n#  include "sub/x.h"\n')
    (tmp_path / "my.h").write_text("/* one */")
    # found beside the source, not beside the header that includes it
    (tmp_path / "sub" / "x.h").write_text('#include "top.h"\n')
    (tmp_path / "top.h").write_text("/* one */")
    seen = {door.content_sha256(tmp_path / "a.c")}
    for name in ("my.h", "sub/x.h", "top.h"):
        with (tmp_path / name).open("a") as file:
            file.write("/* two */")
        seen.add(door.content_sha256(tmp_path / "a.c"))
    assert len(seen) == 4


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_cache_that_others_may_write_to_is_not_used(mode, monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    monkeypatch.setenv("KPB_CACHE", str(shared))
    assert door.cache_dir() != shared


def test_new_cache_belongs_to_the_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("KPB_CACHE", str(tmp_path / "new"))
    assert stat.S_IMODE(door.cache_dir().stat().st_mode) & 0o077 == 0


def _compile(source):
    return str(door.compile_file(Path(source), "4K").path)


def test_processes_that_compile_the_same_get_the_same(written, monkeypatch, tmp_path):
    monkeypatch.setenv("KPB_CACHE", str(tmp_path / "cache"))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        paths = pool.map(_compile, [str(written())] * 4)
    assert len(set(paths)) == 1
    # nothing but the file and what the compiler said
    assert len(list((tmp_path / "cache").iterdir())) == 2


# --- what cannot be compiled ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
        (Path.exists, "cannot read"),
    ],
)
def test_source_that_is_none_is_refused_in_one_line(tmp_path, make, why):
    path = tmp_path / "a.c"
    make(path)
    with pytest.raises(AllocatorError, match=why) as caught:
        Strategy(str(path))
    assert "\n" not in str(caught.value)


def test_host_without_a_compiler_is_told_which_package(written, monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AllocatorError, match="install the package gcc"):
        door.compile_file(written(), "4K")


def test_compiler_that_is_not_there_is_named(written, monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc -m64")
    with pytest.raises(AllocatorError, match=r"'no-such-cc -m64' of \$CC"):
        door.compile_file(written(), "4K")


def test_compiler_that_hangs_is_killed_with_its_children(written, monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exec echo slow 1\nsleep 1000\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(door, "COMPILE_TIMEOUT_S", 0.3)
    with pytest.raises(AllocatorError, match=r"did not end within 0\.3 s"):
        door.compile_file(written(), "4K")


def test_compiler_that_fails_without_a_line_is_quoted(written, monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo bad 1\necho no licence\nexit 1'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(AllocatorError, match="no licence") as caught:
        door.compile_file(written(), "4K")
    assert caught.value.output == "no licence\n"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("extra", "kind", "name"), MISSING)
def test_missing_name_is_reported_with_its_line(written, monkeypatch, compiler, extra, kind, name):
    monkeypatch.setenv("CC", compiler)
    source = written(f"#include <linux/mutex.h>\n\n{extra}\n")
    with pytest.raises(AllocatorError) as caught:
        door.compile_file(source, "4K")
    line = source.read_text().splitlines().index(extra) + 1
    first = caught.value.diagnostics[0]
    assert (first.kind, first.name, first.where) == (kind, name, f"{source}:{line}")
    assert str(caught.value).startswith(f"{source}:{line}: {name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_missing_name_is_listed_once(monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    source = BROKEN / "missing_name.c"
    with pytest.raises(AllocatorError, match=r"2 more: 'kpkeys-bench allocator check") as caught:
        door.compile_file(source, "4K")
    found = [(d.name, d.line) for d in caught.value.diagnostics]
    assert found == [("folio_lock", 26), ("page_folio", 26), ("struct page.memcg_data", 38)]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_name_missing_in_a_header_beside_is_found_there(written, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    source = written('#include "beside.h"\n')
    header = source.with_name("beside.h")
    header.write_text("\nstatic inline int b(void) { return somewhere(); }\n")
    with pytest.raises(AllocatorError) as caught:
        door.compile_file(source, "4K")
    assert caught.value.diagnostics[0].where == f"{header}:2"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_syntax_error_is_reported_with_its_line(monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(AllocatorError, match=r"syntax_error\.c:(19|21): expected "):
        door.compile_file(BROKEN / "syntax_error.c", "4K")


def test_function_of_the_laboratory_that_is_defined_again_is_named(written):
    source = written("void split_page(struct page *page, unsigned int order) {}\n")
    with pytest.raises(AllocatorError, match=r"mine\.c:13: split_page is the laboratory's own"):
        door.compile_file(source, "4K")


def test_file_without_an_allocator_is_refused():
    with pytest.raises(AllocatorError, match=r"no kpkeys_pgtable_alloc\(\) and no kpkeys_pgtable_"):
        door.compile_file(BROKEN / "no_alloc.c", "4K")


# --- running --------------------------------------------------------------------------------------


def test_machines_of_one_file_share_no_state():
    with _booted(V6) as a, _booted(V6) as b:
        a.replay(_ops(ALLOC, np.arange(1000)))
        assert b.state()["live_pages"] == 0
        b.replay(_ops(ALLOC, np.arange(10)))
        a.replay(_ops(FREE, np.arange(1000)))
        for machine in (a, b):
            machine.check()
        cached = {a.state()["cached_pages"], b.state()["cached_pages"]}
    assert len(cached) == 2


def test_machine_that_is_closed_leaves_the_others_alone():
    with _booted(V6) as a:
        for _ in range(3):
            with _booted(V6) as b:
                b.replay(_ops(ALLOC, np.arange(700)))
        a.replay(_ops(ALLOC, np.arange(700)))
        a.check()


@pytest.mark.parametrize(
    ("source", "linear_map"), [(V5, "pte"), (V6, "block"), (V7, "pte"), (PATCHED, "block")]
)
def test_linear_map_follows_from_what_a_file_defines(source, linear_map):
    strategy = Strategy(str(source))
    assert strategy.linear_map == linear_map
    assert strategy.refills == (linear_map == "block")


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("source", [V5, V7])
def test_file_without_splits_and_late_init_works(source, page_size):
    with _booted(source, page_size=page_size) as machine:
        machine.replay(_ops(ALLOC, np.arange(500)))
        pfns = machine.slot_pfns()[:500]
        assert (machine.pkeys(pfns) == 1).all()
        machine.replay(_ops(FREE, np.arange(500)))
        assert (machine.pkeys(pfns) == 0).all()


def test_v6_on_a_pte_map_serves_single_pages():
    strategy = Strategy(str(V6), linear_map="pte")
    with Machine(strategy, ram=RAM) as machine:
        machine.boot()
        assert machine.state()["cached_pages"] == 0


def test_row_of_a_file_has_the_counts_of_the_mirror():
    setup = Setup(ram=1 << 30, ops=30_000)
    workload = parse_workload("random")
    mirror = run(Strategy("pba"), workload, setup).run_rows[0]
    file = run(Strategy(str(door.mirror_source())), workload, setup).run_rows[0]
    assert file["allocator"] == "mm/kpkeys_hardened_pgtables"
    assert file["error"] == ""
    differing = {k for k in mirror if isinstance(mirror[k], int) and mirror[k] != file[k]}
    assert differing == set()


@pytest.mark.parametrize(
    ("source", "why"), [(CRASHES, "crashed: SIGSEGV"), (LOOPS, "no sign of life for .*: it loops")]
)
def test_file_that_ends_badly_leaves_a_row_and_the_rows_of_others(source, why):
    workload = parse_workload("lifo")
    setup = Setup(ram=1 << 30, ops=20_000, timing="none")
    strategies = [Strategy("noblock"), Strategy(str(source)), Strategy(str(V7))]
    results = compare(strategies, [workload], setup, timeout_s=1)
    runs = results.runs.set_index("allocator")
    # the operation is the same that allocates for the 1001st time
    kinds = np.concatenate([np.tile(ops["kind"], n) for ops, n in workload.batches(20_000, 1)])
    index = np.flatnonzero(kinds == ALLOC)[1000]
    assert runs.loc[source.stem, "error"].startswith(why.split(" for ")[0])
    assert f"in operation {index}" in runs.loc[source.stem, "error"]
    assert runs.loc[["noblock", "v7/kpkeys_hardened_pgtables"], "error"].tolist() == ["", ""]
    columns = ["allocs", "frees", "refilled_pages", "set_pkey_calls"]
    assert runs.loc[["noblock"], columns].notna().all(axis=None)
    assert runs.loc[[source.stem], columns].isna().all(axis=None)
    json.dumps(results.run_rows)


# --- allocator check ------------------------------------------------------------------------------


def test_check_of_a_good_file_lists_all_names_and_passes():
    found = checkup.check(V6)
    assert not found.failures
    rows = checkup.merged(found.rows)
    assert {row["page_size"] for row in rows} == {"4K 16K 64K"}
    assert [row["status"] for row in rows] == [checkup.DEFINED] * 7 + ["passed"]


def test_check_says_what_is_absent():
    rows = checkup.merged(checkup.check(V7).rows)
    absent = {row["name"] for row in rows if row["status"] == checkup.ABSENT}
    assert absent == {
        "kpkeys_prepare_direct_map_split",
        "kpkeys_ready_for_direct_map_split",
        "kpkeys_hardened_pgtables_init_late",
    }


def test_check_lists_what_is_missing_for_each_page_size():
    found = checkup.check(BROKEN / "missing_name.c")
    assert len(found.failures) == len(found.outputs) == 3
    assert {(r["name"], r["status"]) for r in found.rows} == {
        (name, checkup.MISSING) for name in ("folio_lock", "page_folio", "struct page.memcg_data")
    }


@pytest.mark.parametrize(
    ("source", "why"), [(CRASHES, "SIGSEGV in operation 1500"), (LOOPS, "1500: it loops")]
)
def test_check_survives_a_file_that_does_not(source, why):
    (failure,) = checkup.check(source, ["4K"], timeout_s=0.5).failures
    assert why in failure


def test_check_reports_warnings_and_the_log(written):
    source = written(
        "#include <linux/init.h>\n"
        "static int __init say(void)\n"
        '{\n\tpr_warn("order %u\\n", 3);\n\tWARN_ON(1);\n\treturn 0;\n}\n'
        "late_initcall(say);\n"
    )
    rows = checkup.check(source, ["4K"]).rows
    assert {r["note"] for r in rows if r["status"] == "log"} == {"warning: order 3"}
    assert [r["where"] for r in rows if r["status"] == "kernel warning"] == ["mine.c:17"]


# --- allocator diff -------------------------------------------------------------------------------


def _same(first, second, page_size, **options):
    options = {"programs": 8, "with_directed": False} | options
    return diff.compare_all([first, second], page_size, **options)


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("linear_map", ["block", "pte"])
def test_mirror_through_the_door_does_what_the_mirror_does(page_size, linear_map):
    file = Strategy(str(door.mirror_source()), linear_map=linear_map)
    found = _same(file.mirror(), file, page_size, ops=60_000, faults=True)
    assert found.difference is None
    assert found.ops == 60_000
    assert (found.refills > 0) == (found.splits > 0) == (linear_map == "block")


@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_independent_v6_file_does_what_the_mirror_does(page_size, faults):
    file = Strategy(str(V6))
    found = _same(file.mirror(), file, page_size, ops=200_000, faults=faults)
    assert found.difference is None
    assert found.refills
    assert found.shrinks


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_v7_file_does_what_noblock_does(page_size):
    file = Strategy(str(V7))
    assert _same(file.mirror(), file, page_size, ops=60_000).difference is None


def test_programs_repeat_and_depend_on_the_seed():
    mirror = Strategy("pba")
    digests = [_same(mirror, mirror, "4K", ops=20_000, seed=s).digest for s in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_programs_are_legal(page_size, number):
    """The machine refuses what is not; a stop would be a finding of its own."""
    program = diff.Program(page_size, 1 << 30, 7, number, 20_000, faults=True)
    found = diff.compare_program(program, [Strategy("null")] * 2)
    assert isinstance(found, diff.Totals)
    assert found.ops == 20_000


def test_programs_hold_every_kind_of_operation():
    seen = np.zeros(16, dtype=np.int64)
    for number in range(4):
        for ops in diff.Operations(diff.Program("4K", 1 << 30, 1, number, 300_000)):
            seen += np.bincount(ops["kind"], minlength=16)
    assert (seen[:10] > 0).all()
    assert not seen[10:].any()


def test_first_operation_that_differs_is_found(tmp_path):
    """One that forgets the reserve differs where it would have refilled."""
    text = door.mirror_source().read_text()
    old = "pba->nr_cached <= PBA_NR_RESERVED_PAGES"
    assert old in text
    source = tmp_path / "off_by_one.c"
    source.write_text(text.replace(old, old.replace("<=", "<")))
    found = _same(Strategy("pba"), Strategy(str(source)), "4K", ops=400_000).difference
    assert found is not None
    assert found.first == found.last
    assert found.op.startswith(("alloc:", "shrink:", "reclaim:", "set_memory:", "split_other:"))
    assert [side.name for side in found.sides] == ["pba 9-4-2", "off_by_one"]
    assert found.sides[0].lines != found.sides[1].lines
    # replayed up to there, they are the same
    program = diff.Program("4K", diff.DEFAULT_RAM, 1, found.program, found.first)
    again = diff.compare_program(program, [Strategy("pba"), Strategy(str(source))])
    assert isinstance(again, diff.Totals)


def test_difference_at_boot_is_told_as_such():
    file = Strategy(str(V5))
    found = _same(file.mirror(), file, "4K", ops=1000).difference
    assert found.where == "at boot, before any operation of program 0"
    assert any("unprotected_pages" in line for line in found.what)


def test_crash_is_a_difference_with_its_operation(tmp_path):
    text = V7.read_text().replace(
        "\tpage = alloc_pages_noprof(gfp, 0);",
        "\tstatic int nr;\n\tif (nr++ == 700)\n\t\t*(volatile int *)8 = 1;\n"
        "\tpage = alloc_pages_noprof(gfp, 0);",
    )
    source = tmp_path / "falls.c"
    source.write_text(text)
    found = _same(Strategy("noblock"), Strategy(str(source)), "4K", ops=8000).difference
    assert found.first == found.last
    assert found.op.startswith("alloc:")
    assert found.what == (f"falls crashed: SIGSEGV in operation {found.first}",)


def test_files_for_different_maps_are_not_compared():
    with pytest.raises(ConfigError, match="choose with --linear-map"):
        _same(Strategy("pba"), Strategy(str(V7)), "4K")


def test_machine_in_this_process_is_not_protected_from_a_crash():
    """What the isolation is for: the same machine, in a child."""
    strategy = Strategy(str(CRASHES))

    def work():
        with Machine(strategy, ram=RAM) as machine:
            machine.boot()
            machine.set_slots(2000)
            machine.replay(_ops(ALLOC, np.arange(2000)))

    with pytest.raises(IsolationError, match="SIGSEGV"):
        diff.isolate.run(work)


def test_geometry_constants_of_a_file_are_those_of_its_page_size(written):
    source = written()
    for page_size in PAGE_SIZES:
        order = geometry(page_size).pmd_order
        source.write_text(ALLOCATOR + f'_Static_assert(PMD_ORDER == {order}, "order");\n')
        assert door.compile_file(source, page_size).path.exists()


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(capsys):
    """Run kpkeys-bench in this process: status, standard output, standard error."""

    def call(*args):
        with pytest.raises(SystemExit) as caught:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return call


def test_path_names_a_file_that_can_be_copied(command):
    status, out, _ = command("allocator", "path")
    assert status == 0
    assert "kpkeys_pgtable_alloc" in Path(out.strip()).read_text()


def test_check_command_passes_a_good_file(command):
    status, out, err = command("allocator", "check", V7, "--page-size", "64k")
    assert (status, err) == (0, "")
    assert "absent: counts as nothing" in out
    assert "passed" in out


def test_check_command_says_in_one_line_what_is_missing(command):
    status, out, err = command("allocator", "check", BROKEN / "missing_header.c", "--json", "-")
    assert status == 1
    assert err.startswith(
        f"kpkeys-bench: {BROKEN}/missing_header.c:13: linux/rhashtable.h is needed"
    )
    assert err.count("\n") == 1
    assert [row["page_size"] for row in json.loads(out)] == list(PAGE_SIZES)


def test_check_command_shows_the_compilers_words_on_request(command):
    source = BROKEN / "syntax_error.c"
    _, _, err = command("allocator", "check", source, "--verbose", "--page-size", "4K")
    assert "In function 'kpkeys_pgtable_alloc'" in err or "error generated" in err


def test_diff_command_says_that_all_is_equal(command):
    status, out, err = command("allocator", "diff", door.mirror_source(), "--ops", "20k")
    assert (status, err) == (0, "")
    assert out.count("equal") == 3


def test_diff_command_prints_the_difference_and_fails(command):
    args = ("--ops", "1k", "--page-size", "4K", "--csv", "-")
    status, out, err = command("allocator", "diff", V5, "--against", V7, *args)
    assert status == 1
    assert "differ: at boot" in out
    assert "state free_pages: " in err
    assert err.splitlines()[-1].startswith("kpkeys-bench: v7/kpkeys_hardened_pgtables and v5/")


def test_compare_command_keeps_the_rows_beside_a_crash(command, tmp_path):
    table = tmp_path / "runs.csv"
    status, out, err = command(
        *("compare", "--allocator", "noblock", "--allocator", CRASHES, "--ops", "5k"),
        *("--workload", "lifo", "--ram", "1G", "--csv", table),
    )
    assert status == 1
    assert "crashed: SIGSEGV in operation" in out
    assert "1 of 2 runs stopped early" in err
    rows = table.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["allocator", "noblock", "crashes"]


def test_compare_command_refuses_a_file_that_does_not_compile(command, tmp_path):
    table = tmp_path / "runs.csv"
    status, _, err = command(
        "compare", "--allocator", BROKEN / "missing_name.c", "--csv", table, "--ops", "1k"
    )
    assert status == 1
    assert "missing_name.c:26: folio_lock() is needed" in err
    assert not table.exists()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--linear-map", "pte"), "is for allocators that are files"),
        (("--allocator", V6, "--refill-orders", "9,2"), "has orders of its own"),
    ],
)
def test_compare_command_refuses_options_that_do_not_fit(command, args, why):
    status, _, err = command("compare", *args)
    assert status == 1
    assert why in err


def test_files_of_one_name_are_told_apart_by_their_content(written, tmp_path):
    first = written(name="mine.c")
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / "mine.c"
    second.write_text(first.read_text() + "\n")
    setup = Setup(ram=1 << 30, ops=2000, timing="none")
    strategies = [Strategy(str(path)) for path in (first, second)]
    results = compare(strategies, [parse_workload("lifo")], setup)
    assert with_labels(results.runs)["strategy"].nunique() == 2
