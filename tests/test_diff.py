# SPDX-License-Identifier: GPL-2.0-only
"""What a comparison of allocators finds: small changes of the mirror, each found by a program."""

import json
from pathlib import Path

import pytest

from kpkeys_bench import Strategy, diff, directed, door
from kpkeys_bench.cli import main

V6 = Path(__file__).parent / "allocators" / "v6" / "kpkeys_hardened_pgtables.c"
PAGE_SIZES = ("4K", "16K", "64K")
PROGRAMS = {program.name: program for program in directed.DIRECTED}

#: What is changed in the mirror, into what, and the program that finds it.
MUTANTS = {
    # splits by others, and the reserve
    "prepare never refills": (
        "return pba_refill(false) ? 0 : -ENOMEM;",
        "BUG();",
        "reserve",
    ),
    "prepare does nothing": (
        "return pba_refill(false) ? 0 : -ENOMEM;",
        "return 0;",
        "reserve",
    ),
    "prepare takes a page": (
        "return pba_refill(false) ? 0 : -ENOMEM;",
        "return pba_refill(true) ? 0 : -ENOMEM;",
        "reserve",
    ),
    "prepare hides that memory is short": (
        "return pba_refill(false) ? 0 : -ENOMEM;",
        "pba_refill(false);\n\treturn 0;",
        "reserve",
    ),
    "ready is always true": (
        "\t\treturn pba_ready_for_direct_map_split();",
        "\t\treturn true;",
        "reserve",
    ),
    "ready is not asked under the lock": (
        "\t\treturn pba_ready_for_direct_map_split();",
        "\t\treturn in_prepare ? pba_ready_for_direct_map_split() : true;",
        "tasks",
    ),
    "ready needs one page less": (
        "READ_ONCE(pba->nr_cached) >= PBA_NR_RESERVED_PAGES",
        "READ_ONCE(pba->nr_cached) >= PBA_NR_RESERVED_PAGES - 1",
        "reserve",
    ),
    "ready does not know the owner": (
        " ||\n\t       mutex_get_owner(&pba->alloc_mutex) == current;",
        ";",
        "reserve",
    ),
    "ready takes anybody for the owner": (
        "mutex_get_owner(&pba->alloc_mutex) == current;",
        "mutex_get_owner(&pba->alloc_mutex) != NULL;",
        "tasks",
    ),
    "no word about an empty reserve": (
        "if (WARN_ON(list_empty(&pba->cached_list)))",
        "if (list_empty(&pba->cached_list))",
        "flags",
    ),
    "splits leave a page": (
        "if (WARN_ON(list_empty(&pba->cached_list)))",
        "if (WARN_ON(pba->nr_cached <= 1))",
        "flags",
    ),
    # refills
    "refills without the mutex": (
        ("\tmutex_lock(&pba->alloc_mutex);\n", "mutex_unlock(&pba->alloc_mutex);"),
        ("", ";"),
        "reserve",
    ),
    "refill leaks its region after an error": (
        "\t\t\t__free_pages(region, order);\n",
        "",
        "errors",
    ),
    "refill keeps the mutex after an error": (
        "\t\t\tmutex_unlock(&pba->alloc_mutex);\n\t\t\treturn NULL;",
        "\t\t\treturn NULL;",
        "errors",
    ),
    "refill goes on after an error": (
        "\t\tif (ret) {\n\t\t\t__free_pages(region, order);",
        "\t\tif (ret && order < 3) {\n\t\t\t__free_pages(region, order);",
        "errors",
    ),
    "block counts the page that was taken": (
        "(u32)(take_page ? nr_pages - 1 : nr_pages)",
        "(u32)nr_pages",
        "shrink",
    ),
    "last order is not tried": (
        "for (i = 0; i < nr_refill_orders(); i++) {",
        "for (i = 0; i < nr_refill_orders() - 1; i++) {",
        "memory",
    ),
    # allocations
    "no word about gfp flags": (
        (
            "\tWARN_ON_ONCE((gfp & GFP_KERNEL) != GFP_KERNEL ||\n"
            "\t\t     (gfp & ~(GFP_KERNEL | PBA_GFP_OPT_MASK)));\n"
        ),
        "",
        "flags",
    ),
    "no word about missing gfp flags": (
        "WARN_ON_ONCE((gfp & GFP_KERNEL) != GFP_KERNEL ||\n\t\t     ",
        "WARN_ON_ONCE(",
        "flags",
    ),
    "no word about a failed refill": (
        "if (WARN_ON(!page))",
        "if (!page)",
        "memory",
    ),
    "page is lost when it cannot be charged": (
        "\t\tkpkeys_pgtable_free(page);\n\t\treturn NULL;",
        "\t\treturn NULL;",
        "errors",
    ),
    "a page is not uncharged": (
        "\tmemcg_kmem_uncharge_page(page, 0);\n",
        "",
        "errors",
    ),
    "clears without the level": (
        "u64 pkey_reg = kpkeys_set_level(KPKEYS_LVL_PGTABLES);",
        "u64 pkey_reg = 0;",
        "flags",
    ),
    # shrinking
    "block/8 is not enough": (
        "target_nr_free >= PBA_SHRINK_BLOCK_MIN_PAGES",
        "target_nr_free > PBA_SHRINK_BLOCK_MIN_PAGES",
        "shrink",
    ),
    "as many loose pages as the block has are fewer": (
        "nr_nonblock < target_nr_free &&",
        "nr_nonblock <= target_nr_free &&",
        "shrink",
    ),
    "as many loose pages as wanted are fewer": (
        "nr_nonblock < sc->nr_to_scan &&",
        "nr_nonblock <= sc->nr_to_scan &&",
        "shrink",
    ),
    "511 pages are a whole block": (
        "whole_block = target_nr_free == BLOCK_NR_PAGES;",
        "whole_block = target_nr_free >= BLOCK_NR_PAGES - 1;",
        "shrink",
    ),
    "511 shrinkable pages are a whole block": (
        "if (nr_shrinkable < BLOCK_NR_PAGES) {",
        "if (nr_shrinkable < BLOCK_NR_PAGES - 1) {",
        "shrink",
    ),
    "512 shrinkable pages are no whole block": (
        "if (nr_shrinkable < BLOCK_NR_PAGES) {",
        "if (nr_shrinkable <= BLOCK_NR_PAGES) {",
        "shrink",
    ),
    "the last of equal blocks": (
        "if (nr_free > target_nr_free) {",
        "if (nr_free >= target_nr_free) {",
        "shrink",
    ),
    "more than there is to shrink": (
        "if (nr_moved >= nr_target || nr_moved >= nr_shrinkable)",
        "if (nr_moved >= nr_target)",
        "shrink",
    ),
    "unshrinkable pages": (
        "#define PBA_UNSHRINKABLE_PAGES 16",
        "#define PBA_UNSHRINKABLE_PAGES 15",
        "shrink",
    ),
    "block keeps its mark": (
        "\tif (target)\n\t\tunmark_block(target);\n",
        "",
        "shrink",
    ),
    "whole-block error is a bug": (
        "\tif (ret) {\n\t\tlist_for_each_entry_safe(page, next, pages, lru)",
        "\tBUG_ON(ret);\n\tif (ret) {\n\t\tlist_for_each_entry_safe(page, next, pages, lru)",
        "errors",
    ),
    "whole-block error drops the pages": (
        "\t\tlist_for_each_entry_safe(page, next, pages, lru)\n\t\t\tpba_pgtable_free(page);\n",
        "\t\t(void)next;\n\t\t(void)page;\n",
        "errors",
    ),
    "whole-block error is ignored": (
        "BLOCK_NR_PAGES, KPKEYS_PKEY_DEFAULT);\n\tif (ret) {",
        "BLOCK_NR_PAGES, KPKEYS_PKEY_DEFAULT);\n\tif (0) {",
        "errors",
    ),
    "single-page error goes on": (
        "\t\t\tpba_pgtable_free(page);\n\t\t\tbreak;",
        "\t\t\tpba_pgtable_free(page);\n\t\t\tcontinue;",
        "errors",
    ),
    "single-page error loses the page": (
        "\t\t\tpba_pgtable_free(page);\n\t\t\tbreak;",
        "\t\t\tbreak;",
        "errors",
    ),
    # boot
    "second early region wins": (
        "\tif (WARN_ON(early->head))\n\t\treturn;\n",
        "\tWARN_ON(early->head);\n",
        "early",
    ),
    "no word about a second early region": (
        "if (WARN_ON(early->head))",
        "if (early->head)",
        "early",
    ),
    "early region stays unprotected": (
        "\tif (early->head)\n",
        "\tif (0)\n",
        "early",
    ),
    "early region of one order only": (
        "1 << early->order, KPKEYS_PKEY_PGTABLES",
        "BLOCK_NR_PAGES, KPKEYS_PKEY_PGTABLES",
        "early",
    ),
    "static tables stay unprotected": (
        "\tarch_kpkeys_protect_static_pgtables();\n",
        "",
        "early",
    ),
    "chunks stay apart": (
        "\t\tif (end == last->start) {",
        "\t\tif (0) {",
        "regions",
    ),
    "rest of the chunk is kept": (
        "\tmemblock_free_late(ppa->chunk.start, ppa->next - ppa->chunk.start);\n",
        "",
        "regions",
    ),
    "no single page without a chunk": (
        "\t\t\treturn memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE,\n\t\t\t\t\t\t\t 0, 0);",
        "\t\t\treturn 0;",
        "regions",
    ),
    "earlier chunks stay unprotected": (
        "\tfor (i = 0; i < ppa->nr_ranges; i++)",
        "\tfor (i = 1; i < ppa->nr_ranges; i++)",
        "regions",
    ),
    # a PTE map
    "single pages leak after an error": (
        "\tif (ret) {\n\t\t__free_page(page);\n\t\treturn NULL;",
        "\tif (ret) {\n\t\treturn NULL;",
        "regions",
    ),
    "single pages keep their pkey": (
        (
            "\tset_memory_pkey((unsigned long)page_address(page), 1,\n"
            "\t\t\tKPKEYS_PKEY_DEFAULT);\n\t__free_page(page);"
        ),
        "\t__free_page(page);",
        "regions",
    ),
}

#: Changes that nothing outside the file can tell, and why.
UNOBSERVABLE = {
    "page->private is not cleared": (
        "\tset_page_private(page, 0);\n",
        "nobody in the laboratory reads page->private, nor the lock that it overlaps",
    ),
    "chunks that follow one another upwards stay apart": (
        "\t\tif (start == last->end) {",
        "memblock hands out memory from the top down: a chunk never lies above the one before",
    ),
    "the number of ranges is not checked": (
        "\tif (WARN_ON(ppa->nr_ranges == ARRAY_SIZE(ppa->ranges)))\n\t\treturn;\n",
        "128 ranges need more chunks with gaps between than a machine can have holes (32)",
    ),
    "the search for a block goes on": (
        "\t\tif (target_nr_free == BLOCK_NR_PAGES)\n\t\t\tbreak;\n",
        "no block has more cached pages than all, and a whole one does not ask for pages of none",
    ),
}


def _planted(tmp_path, old, new):
    """The mirror's source with something changed, as a file of its own."""
    text = door.mirror_source().read_text()
    pairs = zip(old, new, strict=True) if isinstance(old, tuple) else [(old, new)]
    for before, after in pairs:
        assert before in text, f"the mirror has no {before!r} any more"
        text = text.replace(before, after)
    if "in_prepare" in text:
        # asked by prepare it tells the truth
        call = "\tif (kpkeys_ready_for_direct_map_split())\n\t\treturn 0;"
        assert call in text
        text = text.replace(
            call,
            "\tbool ready;\n\n\tin_prepare = true;\n"
            "\tready = kpkeys_ready_for_direct_map_split();\n\tin_prepare = false;\n"
            "\tif (ready)\n\t\treturn 0;",
        )
        text = text.replace("/* noblock: one", "static bool in_prepare;\n\n/* noblock: one")
    path = tmp_path / "mutant.c"
    path.write_text(text)
    return Strategy(str(path))


def _rounds(name, strategies, page_size="4K"):
    program = PROGRAMS[name]
    for number in range(program.rounds):
        this = diff.Round(program, number, page_size, 1)
        yield diff._run_round(this, strategies, 5.0)


@pytest.mark.parametrize("name", MUTANTS)
def test_change_of_the_mirror_is_found(tmp_path, name):
    old, new, program = MUTANTS[name]
    file = _planted(tmp_path, old, new)
    strategies = [file.mirror().for_page_size("4K"), file]
    found = (one for one in _rounds(program, strategies) if isinstance(one, diff.Difference))
    difference = next(found, None)
    assert difference is not None
    assert difference.first >= difference.last
    assert difference.what


@pytest.mark.parametrize("name", UNOBSERVABLE)
def test_change_that_cannot_be_observed_is_still_possible(name):
    old, why = UNOBSERVABLE[name]
    assert old in door.mirror_source().read_text()
    assert why


#: What one page size cannot have: a block of 64K pages is larger than any refill, and it takes
#: more than 64 GB on PTEs to fill a chunk with their tables where pages are larger than 4K.
OUT_OF_REACH = {
    "4K": set(),
    "16K": {"tables from several chunks"},
    "64K": {
        "splits in a refill below the reserve",
        "tables from several chunks",
        "whole blocks released",
        "whole-block errors",
    },
}


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_programs_reach_what_they_are_for_and_v6_does_the_same(page_size):
    file = Strategy(str(V6))
    strategies = [file.mirror().for_page_size(page_size), file]
    found = diff.compare_all(strategies, page_size, ops=1000, programs=1, faults=True)
    assert found.difference is None
    assert found.directed > 100_000
    assert set(found.not_reached) <= OUT_OF_REACH[page_size]


def test_programs_repeat_and_depend_on_the_seed():
    mirror = Strategy("pba").for_page_size("4K")
    rounds = [diff.Round(PROGRAMS["tasks"], 0, "4K", seed) for seed in (1, 1, 2)]
    digests = [diff.compare_round(this, [mirror, mirror]).digest for this in rounds]
    assert digests[0] == digests[1] != digests[2]


def test_crash_in_a_program_is_told_with_its_operation(tmp_path):
    file = _planted(tmp_path, "early->head = head;", "*(volatile int *)8 = 1;")
    strategies = [file.mirror().for_page_size("4K"), file]
    found = next(_rounds("early", strategies))
    assert found.what[0].startswith("mutant crashed: SIGSEGV")
    assert found.op == "init"
    assert found.where == "operation 0 of program early/0"


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_small_memory_is_enough_for_programs(page_size):
    for number in range(8):
        program = diff.Program(page_size, 64 << 20, 1, number, 20_000)
        found = diff.compare_program(program, [Strategy("pba")] * 2)
        assert isinstance(found, diff.Totals)


def test_table_says_what_was_not_reached(capsys, monkeypatch, tmp_path):
    one = directed.Directed("reserve", directed.reserve, 1)
    monkeypatch.setattr(directed, "DIRECTED", [one])
    arguments = ["allocator", "diff", str(V6), "--ops", "1000", "--page-size", "64K"]
    with pytest.raises(SystemExit) as status:
        main([*arguments, "--json", str(tmp_path / "found.json")])
    assert not status.value.code
    assert "64K: not reached: " in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "found.json").read_text())
    assert row["result"] == "equal"
    assert row["whole_blocks_released"] == 0
    assert row["refills_before_late_init"] > 0
