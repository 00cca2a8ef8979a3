# SPDX-License-Identifier: GPL-2.0-only
"""One boot: the numbers of the early window, what stays unprotected, layouts, and the command."""

import csv
import json
from dataclasses import replace

import pytest

from kpkeys_bench import boot_report, plots
from kpkeys_bench.boot import LAYOUTS, BootSetup, boot, measure_speed, parse_region
from kpkeys_bench.cli import main
from kpkeys_bench.errors import ConfigError
from kpkeys_bench.geometry import VA_BITS, geometry
from kpkeys_bench.machine import PHASES


def ceil_div(number, by):
    return -(-number // by)


@pytest.mark.parametrize(
    ("page_size", "nr_cpus", "kasan", "tables"),
    [
        ("4K", 512, False, 8),
        ("4K", 1024, False, 16),
        ("4K", 4096, False, 64),
        ("4K", 4096, True, 128),
        ("16K", 512, False, 1),
        ("16K", 1024, False, 1),
        ("16K", 4096, False, 4),
        ("16K", 4096, True, 8),
        ("64K", 512, False, 1),
        ("64K", 1024, False, 1),
        ("64K", 4096, False, 1),
        ("64K", 4096, True, 1),
    ],
)
def test_irq_stacks_take_the_tables_that_a_formula_says(page_size, nr_cpus, kasan, tables):
    row = boot(BootSetup(page_size=page_size, nr_cpus=nr_cpus, kasan=kasan)).row
    page = 1 << geometry(page_size).page_shift
    stride = 2 * max(32768 if kasan else 16384, page)
    table_maps = page * geometry(page_size).ptrs_per_table
    assert row["ptes_irq_stacks"] == tables == ceil_div(nr_cpus * stride, table_maps)


@pytest.mark.parametrize(
    ("page_size", "va_bits"),
    [(page_size, bits) for page_size, widths in VA_BITS.items() for bits in widths],
)
def test_va_bits_decide_how_many_upper_tables_the_window_takes(page_size, va_bits):
    plain = BootSetup(page_size=page_size, nr_cpus=64)
    one = boot(replace(plain, va_bits=va_bits))
    # each level translates as many bits as a table has entries; the root is no PTP
    levels = ceil_div(va_bits - geometry(page_size).page_shift, geometry(page_size).page_shift - 3)
    assert one.row["va_bits"] == va_bits
    assert one.row["ptps_early_window"] - one.row["ptes_early_window"] == levels - 2
    assert one.row["ptes_early_window"] == boot(plain).row["ptes_early_window"]
    assert one.row["check"] == ""
    assert one.row["unprotected_end_pages"] == 0


@pytest.mark.parametrize(("order", "capacity"), [("block", 508), ("middle", 12), ("last", 0)])
def test_early_region_has_the_capacity_of_its_order(order, capacity):
    row = boot(BootSetup(nr_cpus=2).with_first_order(order)).row
    assert row["early_region_capacity_pages"] == capacity


@pytest.mark.parametrize("order", ["block", "middle", "last"])
@pytest.mark.parametrize("kasan", [False, True])
@pytest.mark.parametrize("nr_cpus", [2, 512, 4096])
def test_unprotected_pages_are_all_regions_but_the_first(nr_cpus, kasan, order):
    row = boot(BootSetup(nr_cpus=nr_cpus, kasan=kasan).with_first_order(order)).row
    size = 1 << row["first_refill_order"]
    over = max(row["ptps_early_window"] - (size - 4), 0)
    assert row["unprotected_end_pages"] == ceil_div(over, size) * size
    assert row["warnings"] == row["regions_untracked"] == ceil_div(over, size)


@pytest.mark.parametrize("order", ["block", "middle", "last"])
def test_unprotected_pages_add_up_over_the_tables_asked_for(order):
    row = boot(BootSetup(nr_cpus=512).with_first_order(order)).row
    size = 1 << row["first_refill_order"]
    # the linear map's one table, and the regions that are there once a table has been handed out
    regions = [1 + ceil_div(max(i - (size - 4), 0), size) for i in range(1, 43)]
    assert row["ptps_early_window"] == 42
    assert row["unprotected_page_ptps"] == sum(1 + size * nr for nr in regions)


def test_unprotected_pages_of_4096_cpus_with_kasan_are_one_block():
    # 640 PTE, 2 PMD and 1 PUD table, and room for 508
    row = boot(BootSetup(nr_cpus=4096, kasan=True)).row
    assert (row["ptps_early_window"], row["unprotected_end_pages"]) == (643, 512)


def test_late_cpu_without_bbml2_asks_for_a_table_for_every_2_mb():
    one = boot(BootSetup(nr_cpus=2, bbml2="late-cpu", ram=12 << 30))
    split = {r["level"]: r["ptps"] for r in one.causes if r["cause"] == "linear_map_split"}
    assert split == {"pte": 6144, "pmd": 12}
    row = one.row
    assert row["ptps_linear_map_split"] == row["split_ptps"] == 6156
    # 3 tables of the window and 6,156 more: room for 508 in the first of 13 regions
    assert row["regions_untracked"] == ceil_div(3 + 6156 - 508, 512) == 12
    assert row["unprotected_end_pages"] == 12 * 512
    assert row["sleeps_in_atomic"] == 2 * 12
    assert row["warnings"] == 6156 + 12
    assert row["map_pud_kb_window"] == row["map_pte_kb_smp"] == 12 << 20
    assert "6144 PTPs do not carry" in one.broken


@pytest.mark.parametrize("allocator", ["early-regions", "deferred-list", "deferred-marks"])
def test_late_cpu_with_a_remedy_leaves_nothing_unprotected(allocator):
    one = boot(BootSetup(nr_cpus=2, bbml2="late-cpu", ram=2 << 30, allocator=allocator))
    assert (one.row["unprotected_end_pages"], one.broken) == (0, "")
    assert one.row["unprotected_page_ptps"] > 0


def test_sized_refill_fits_where_v6_does_not():
    setup = BootSetup(nr_cpus=4096, kasan=True, allocator="sized-refill")
    row = boot(setup).row
    assert row["variant"] == "stacks of a CPU=5"
    assert (row["first_refill_order"], row["unprotected_end_pages"]) == (10, 0)


@pytest.mark.parametrize(
    ("layout", "page_size", "order"),
    [
        ("plain", "4K", 9),
        ("crash-64M", "4K", 9),
        ("crash-64M", "16K", 7),
        ("crash-64M", "64K", 5),
        ("firmware-64M", "4K", 4),
        ("firmware-128M", "4K", 4),
        ("firmware-64M", "64K", 2),
        ("firmware-1G", "16K", 7),
        ("crashkernel-1G", "16K", 11),
    ],
)
def test_layout_decides_what_the_first_refill_gets(layout, page_size, order):
    row = boot(BootSetup(nr_cpus=2, layout=layout, page_size=page_size)).row
    assert row["first_refill_order"] == order
    assert row["ram_bytes"] == (LAYOUTS[layout].ram or 12 << 30)


def test_reserved_ranges_make_the_first_refill_fall_back():
    reserved = tuple((i * (2 << 20) + (1 << 20), 4096) for i in range(32))
    row = boot(BootSetup(nr_cpus=2, ram=64 << 20, reserved=reserved)).row
    assert row["first_refill_order"] == 4
    assert row["reserved"].startswith("1M+4K 3M+4K")


def test_regions_outside_an_early_region_are_told_apart():
    # memblock has no whole chunk for the tables of the linear map
    row = boot(BootSetup(nr_cpus=2, layout="firmware-64M")).row
    assert row["unprotected_region_pages"] == 0
    assert row["unprotected_end_pages"] == row["unprotected_other_pages"] == 2


def test_boot_that_panics_keeps_what_it_counted():
    one = boot(BootSetup(nr_cpus=4096, layout="crash-64M"))
    assert "no memory for an IRQ stack" in one.row["error"]
    assert [row["phase"] for row in one.phases] == ["linear_map", "buddy"]
    assert one.row["map_pte_kb_running"] is None
    assert "The boot ends after buddy" in boot_report.answer(one)[0]


def test_split_that_panics_says_how_far_it_got():
    setup = BootSetup(threads_per_cpu=1, percpu_chunks=1, percpu_unit_bytes=1 << 20)
    setup = replace(setup, ram=64 << 20, bbml2="late-cpu", allocator="sized-refill")
    done = boot(setup)
    assert "Failed to split linear map" in done.row["error"]
    # room for 60, of which the window takes 43
    assert (done.row["ptps_early_window"], done.row["ptps_linear_map_split"]) == (43, 17)
    said = " ".join(boot_report.answer(done))
    assert "64M of linear map are to become PTEs, but after 17 tables" in said


def test_phases_add_up_to_the_result():
    one = boot(BootSetup(nr_cpus=1024))
    assert [row["phase"] for row in one.phases] == list(PHASES)
    window = one.phases[2]
    total = sum(window[f"ptps_{level}"] for level in ("pte", "pmd", "pud"))
    assert total == one.row["ptps_early_window"]
    assert window["early_capacity_pages"] == 508 - total
    kb = [sum(v for k, v in row.items() if k.endswith("_kb")) for row in one.phases]
    assert kb == [12 << 20] * len(PHASES)


@pytest.mark.parametrize("bbml2", ["all", "late-cpu"])
def test_deferred_ranges_are_what_the_list_has_to_hold(bbml2):
    setup = BootSetup(nr_cpus=512, bbml2=bbml2, ram=2 << 30).with_first_order("middle")
    ranges = boot(setup).row["deferred_ranges"]
    assert ranges > 1

    def forgotten(room):
        listed = replace(setup, allocator="deferred-list", variant_param=room)
        return boot(listed).row["regions_untracked"]

    assert forgotten(ranges) == 0
    assert forgotten(ranges - 1) > 0


def test_sized_refill_has_room_for_stacks_that_begin_inside_a_table():
    setup = BootSetup(nr_cpus=3712, threads_per_cpu=0, vmalloc_offset_bytes=64 << 10)
    row = boot(replace(setup, allocator="sized-refill", variant_param=1)).row
    # 58 tables hold them, 59 are begun; with two above that is one more than order 6 has room for
    assert row["ptps_early_window"] == 61
    assert (row["first_refill_order"], row["early_regions"]) == (7, 1)


def test_recorded_boot_stands_beside_the_model():
    one = boot(BootSetup(nr_cpus=2), recorded=True)
    by_level = {row["level"]: row for row in one.recorded}
    assert [row["model_window_ptps"] for row in one.recorded] == [1, 1, 1, 0]
    assert [row["recorded_before_user_ptps"] for row in one.recorded] == [13, 1, 0, 0]
    assert by_level["pgd"]["recorded_all_ptps"] == 62
    assert one.row["unprotected_page_ops"] == 14 * 513
    # all 513 pages until the first user process appears
    assert one.row["unprotected_page_ns"] == 513 * 1_764_036_000


def test_recorded_boot_wants_the_page_size_it_was_recorded_with():
    with pytest.raises(ConfigError, match="4K pages, not 16K"):
        boot(BootSetup(page_size="16K"), recorded=True)


def test_recorded_boot_counts_against_the_early_region():
    done = boot(BootSetup(nr_cpus=2, first_refill_order=4), recorded=True)
    # 3 of the model, 14 of the recording, 12 that fit; the rest is in a second region
    assert done.row["unprotected_end_pages"] == 16
    said = " ".join(boot_report.answer(done))
    assert "with the 14 tables of the recorded kernel, which is 5 too few" in said


def test_workload_follows_a_recorded_boot_that_ran_out_of_memory():
    setup = BootSetup(
        layout="firmware-64M", threads_per_cpu=0, percpu_chunks=1, percpu_unit_bytes=128 << 10
    )
    done = boot(replace(setup, workload="mmap", ops=5000), recorded=True)
    assert done.row["error"] == ""
    assert done.row["phases"] == len(PHASES)


def test_deferral_is_known_however_much_is_populated():
    setup = BootSetup(nr_cpus=4096, percpu_chunks=1, percpu_unit_bytes=512 << 10)
    row = boot(replace(setup, kasan=True, threads_per_cpu=60, first_refill_order=4)).row
    # the first region serves 12, each other one 16
    assert row["early_regions"] == 1 + ceil_div(row["ptps_early_window"] - 12, 16) == 554
    assert 1 <= row["deferred_ranges"] <= 554
    assert row["deferred_span_pages"] >= row["early_region_pages"]


def test_answer_counts_the_memory_that_is_mapped():
    setup = BootSetup(nr_cpus=2, bbml2="late-cpu", holes=((1 << 30, 1 << 30),))
    assert "11G of linear map become PTEs" in " ".join(boot_report.answer(boot(setup)))


def test_speed_is_measured_against_noblock_on_the_same_map():
    own, other = measure_speed(BootSetup(nr_cpus=2, bbml2="late-cpu", ram=1 << 30, ops=2000))
    assert (own["allocator"], other["allocator"]) == ("pba", "noblock")
    assert own["map_pte_kb"] == other["map_pte_kb"] == 1 << 20
    # 3 tables of the window, 512 + 1 of the map, in two regions of 512
    assert (own["held_boot_pages"], own["cached_boot_pages"]) == (1024, 1024 - 3 - 513)
    assert other["cached_boot_pages"] == other["cached_mean_pages"] == 0
    assert own["service_ns_p99"] > 0


@pytest.mark.parametrize("other", [{"allocator": "noblock"}, {"debug_pagealloc": True}])
def test_speed_is_not_measured_where_all_allocators_are_noblock(other):
    setup = BootSetup(nr_cpus=2, bbml2="late-cpu", ram=1 << 30, ops=2000, **other)
    assert boot(setup, speed=True).speed == []


def test_region_is_an_offset_and_a_size():
    assert parse_region("48M+2M") == (48 << 20, 2 << 20)
    with pytest.raises(ConfigError, match=r"OFFSET\+SIZE"):
        parse_region("48M")


def test_command_prints_the_timeline_and_the_answer(capsys):
    main_status(["boot", "--nr-cpus", "4096"], 0)
    out = capsys.readouterr().out
    assert "late_init" in out
    assert "fails by 304" in " ".join(out.split())
    assert "every table is protected" in out


def test_command_takes_the_parameter_with_the_allocator(tmp_path):
    target = tmp_path / "boot.csv"
    main_status(["boot", "--allocator", "early-regions=3", "--csv", str(target)], 0)
    with target.open(newline="") as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["early regions=3"]


def test_picture_has_the_whole_title():
    setup = BootSetup(layout="firmware-128M", kasan=True, bbml2="late-cpu", nr_cpus=512)
    figure = plots.boot_figure(boot(replace(setup, page_size="16K", allocator="deferred-list")))
    figure.canvas.draw()
    assert figure.get_suptitle().endswith("(ranges=128)")
    (above,) = (text for text in figure.texts if text.get_text() == figure.get_suptitle())
    assert above.get_window_extent().x1 < figure.bbox.x1


def test_command_writes_all_tables(tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("boot.csv", "boot.json", "boot.png")]
    options = ["--csv", files[0], "--json", files[1], "--plot", files[2]]
    main_status(["boot", "--nr-cpus", "8", "--bbml2", "none", *options], 0)
    assert "Functional: all invariants hold" in capsys.readouterr().out
    with (tmp_path / "boot.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["bbml2"] == "none"
    assert row["map_pte_kb_linear_map"] == str(12 << 20)
    document = json.loads((tmp_path / "boot.json").read_text())
    assert [row["phase"] for row in document["phases"]] == list(PHASES)
    assert (tmp_path / "boot-phases.csv").exists()
    assert (tmp_path / "boot.png").read_bytes().startswith(b"\x89PNG")


def test_second_boot_leaves_no_table_of_the_first_beside_its_own(tmp_path):
    target = str(tmp_path / "boot.csv")
    main_status(
        ["boot", "--nr-cpus", "8", "--bbml2", "late-cpu", "--ram", "256M", "--csv", target], 0
    )
    assert (tmp_path / "boot-speed.csv").exists()
    main_status(["boot", "--nr-cpus", "8", "--csv", target], 0)
    assert not (tmp_path / "boot-speed.csv").exists()
    assert (tmp_path / "boot-phases.csv").exists()


def test_split_that_needs_no_table_is_told(capsys):
    options = ["--page-size", "16K", "--layout", "firmware-128M", "--bbml2", "late-cpu"]
    main_status(["boot", "--nr-cpus", "2", *options], 0)
    out = " ".join(capsys.readouterr().out.split())
    assert "takes no table; 32 contPTE groups become PTEs" in out


def test_populated_part_of_a_unit_decides_how_many_tables_it_takes():
    # a unit of 8 MB spans four PTE tables; of its first page, one
    setup = BootSetup(nr_cpus=2, percpu_chunks=1, percpu_unit_bytes=8 << 20)
    whole = boot(setup).row["ptes_early_window"]
    part = boot(replace(setup, percpu_populated_bytes=4096)).row["ptes_early_window"]
    assert whole - part == 2 * (4 - 1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--nr-cpus", "1"], "1 CPUs: give 2 to 4096"),
        (["--threads-per-cpu", "65"], "65 threads per CPU: give at most 64"),
        (["--allocator", "early-regions=2", "--variant-param", "3"], "give one"),
        (["--va-bits", "47"], "with 4K pages give 48, 39, 52"),
        (["--page-size", "16K", "--va-bits", "36", "--ram", "64G"], "36-bit addresses has room"),
        (["--nr-cpus", "many"], "whole numbers"),
        (["--nr-cpus", "2,4"], "--sweep"),
        (["--jobs", "2"], "add --sweep"),
        (["--bbml2", "some"], "late-cpu"),
        (["--layout", "moon"], "firmware-64M"),
        (["--first-refill-order", "3"], "9, 4, 2"),
        (["--allocator", "null"], "name another one"),
        (["--hole", "3"], "OFFSET+SIZE"),
        (["--ram", "64M", "--hole", "1G+1M"], "within RAM"),
        (["--json", "-", "--csv", "-"], "standard output"),
    ],
)
def test_command_refuses_what_makes_no_sense(options, complaint, capsys):
    status = main_status(["boot", *options], None)
    assert status not in {0, None}
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def main_status(argv, expected):
    """The status with which the command ends."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    if expected is not None:
        assert ended.value.code == expected
    return ended.value.code
