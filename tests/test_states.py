# SPDX-License-Identifier: GPL-2.0-only
import json
import os
import struct
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import click.testing
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench import ConfigError, Machine, MachineError, State, Strategy, parse_state
from kpkeys_bench.cli import cli
from kpkeys_bench.errors import StateError
from kpkeys_bench.geometry import geometry
from kpkeys_bench.states import figure
from kpkeys_bench.states import image as images
from kpkeys_bench.states.fit import FreeBlocks, natural_blocks
from kpkeys_bench.states.image import (
    ANON,
    FILE,
    FREE,
    HOLE,
    KERNEL,
    PGTABLE,
    RESERVED,
    SLAB,
    MemoryImage,
    load_image,
    save_image,
    scatter,
)
from kpkeys_bench.states.named import recorded_states
from kpkeys_bench.states.snapshot import free_by_type, snapshot
from kpkeys_bench.workloads.ops import ALLOC, OP_DTYPE, PIN, UNPIN
from kpkeys_bench.workloads.ops import FREE as FREE_TABLE

V6 = Path(__file__).parent / "allocators" / "v6" / "kpkeys_hardened_pgtables.c"
FACTS = geometry("4K")
TOP = FACTS.max_page_order
#: 64 MB, the smallest machine there is.
FRAMES = 16384
#: At the end, reserved: room for the linear map's own tables.
RESERVED_FRAMES = 1024
FLAG = {
    FREE: 1 << 10,
    KERNEL: 0,
    PGTABLE: 1 << 26,
    SLAB: 1 << 7,
    RESERVED: 1 << 32,
    FILE: 1 << 5 | 1 << 2,
    ANON: 1 << 5 | 1 << 12 | 1 << 14,
    HOLE: 1 << 20,
}


def natural(codes, top=TOP):
    """Slow and obvious: merge free buddies until nothing merges."""
    blocks = {int(i): 0 for i in np.flatnonzero(codes == FREE)}
    for order in range(top):
        for first in sorted(blocks):
            buddy = first + (1 << order)
            if first % (2 << order) == 0 and blocks.get(first) == order == blocks.get(buddy):
                del blocks[buddy]
                blocks[first] = order + 1
    return blocks


def line_of(blocks, top=TOP):
    return [sum(order == o for order in blocks.values()) for o in range(top + 1)]


def buddyinfo_text(lines: Mapping[str, list[int]]):
    return "".join(
        f"Node 0, zone {name:>8} {' '.join(f'{n:6}' for n in line)} \n"
        for name, line in lines.items()
    )


def zoneinfo_text(name, start, nr, managed):
    return (
        f"Node 0, zone {name:>8}\n  per-node stats\n      nr_inactive_anon 5\n"
        f"  pages free     1\n        boost    0\n        min      20\n        low      30\n"
        f"        high     40\n        spanned  {nr}\n        present  {nr}\n"
        f"        managed  {managed}\n        protection: (0, 0, 0)\n  pagesets\n    cpu: 0\n"
        f"              count:    3\n              high:     9\n    cpu: 1\n"
        f"              count:    4\n  start_pfn:           {start}\n"
    )


def write_flags(folder, codes, heads=None):
    flags = np.zeros(len(codes), "<u8")
    for kind, flag in FLAG.items():
        flags[codes == kind] = flag
    if heads is not None:
        flags[(codes == FREE) & ~heads] = 0
    (folder / "kpageflags").write_bytes(flags.tobytes())


def proc_folder(folder, codes, line=None, **texts):
    folder.mkdir(exist_ok=True)
    write_flags(folder, codes)
    (folder / "buddyinfo").write_text(buddyinfo_text({"DMA": line or line_of(natural(codes))}))
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def small_machine(rng=None):
    """Free memory with a few pages in use, and the reserved end."""
    codes = np.full(FRAMES, FREE, np.uint8)
    codes[-RESERVED_FRAMES:] = RESERVED
    codes[0:3] = KERNEL
    codes[5] = PGTABLE
    if rng is not None:
        codes[rng.integers(FRAMES - RESERVED_FRAMES, size=200)] = ANON
    return codes


def sums(machine):
    return machine.buddyinfo().sum(axis=1).tolist()


def image_of(rows, name="hand made", page_size="4K", types=None):
    """From (kind, order, blocks) one after the other."""
    runs = np.zeros(len(rows), images.RUN_DTYPE)
    first = 0
    for i, (kind, order, nr) in enumerate(rows):
        runs[i] = (first, nr, kind, order, 0)
        first += nr << order
    facts = geometry(page_size)
    blocks = -(-first >> facts.block_order)
    return MemoryImage(
        page_size=page_size,
        phys_base=1 << 30,
        ram_bytes=first << facts.page_shift,
        runs=runs,
        block_types=np.full(blocks, 1, np.uint8) if types is None else types,
        places=np.zeros(0, images.PLACE_DTYPE),
        managed_pages=0,
        watermarks=(0, 0, 0),
        compact=(0, 0, 0),
        meta={"name": name, "source": "by hand"},
    )


def a_small_image(**options):
    return image_of(
        [
            (KERNEL, 0, 1),
            (FREE, 0, 1),
            (FREE, 1, 1),
            (FREE, 2, 255),
            (FREE, 10, 14),
            (RESERVED, 0, 1024),
        ],
        **options,
    )


# --- from what /proc says ---


def test_snapshot_of_hand_made_files_gives_their_numbers(tmp_path):
    codes = np.full(FRAMES, KERNEL, np.uint8)
    # frames 0-3: in use, free, and a free pair; 4-7: a folio of four and its tails
    codes[1:4] = FREE
    codes[8] = PGTABLE
    codes[512 * 3] = PGTABLE
    codes[512 * 3 + 1] = PGTABLE
    codes[2048:4096] = FREE
    codes[-RESERVED_FRAMES:] = RESERVED
    folder = proc_folder(tmp_path / "proc", codes)
    flags = np.frombuffer((folder / "kpageflags").read_bytes(), "<u8").copy()
    flags[4:8] = FLAG[ANON] | 1 << 16
    flags[4] = FLAG[ANON] | 1 << 15
    (folder / "kpageflags").write_bytes(flags.tobytes())
    image = snapshot(folder, name="tiny")
    assert image.free_blocks().tolist() == [1, 1, *[0] * 8, 2]
    assert image.meta["buddyinfo"] == [1, 1, *[0] * 8, 2]
    assert image.meta["adjusted_pages"] == 0
    assert image.meta["variant"] == "kpageflags"
    assert image.managed_pages == FRAMES - RESERVED_FRAMES
    anon = image.runs[image.runs["kind"] == ANON]
    assert anon[["first", "nr", "order"]].tolist() == [(4, 1, 2)]
    # pages 8, 1536 and 1537: in two areas of 64 KB, of 2 MB; one of 32 MB
    assert scatter(image) == {
        "64K": {"areas": 2, "least": 1, "total": 1024},
        "2M": {"areas": 2, "least": 1, "total": 32},
        "32M": {"areas": 1, "least": 1, "total": 2},
        "1G": {"areas": 1, "least": 1, "total": 1},
    }
    with Machine(Strategy("null"), state=State(image=image)) as machine:
        assert sums(machine) == image.meta["buddyinfo"]
        machine.check()


@st.composite
def memories(draw):
    """Random memory: stretches of any kind, the reserved end, and one moment's difference."""
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    codes = np.full(FRAMES, FREE, np.uint8)
    kinds = (FREE, KERNEL, PGTABLE, SLAB, FILE, ANON, RESERVED)
    for _ in range(draw(st.integers(0, 60))):
        length = int(2 ** rng.uniform(0, 11))
        at = int(rng.integers(FRAMES))
        codes[at : at + length] = kinds[rng.integers(len(kinds))]
    codes[rng.integers(FRAMES, size=draw(st.integers(0, 300)))] = ANON
    codes[-RESERVED_FRAMES:] = RESERVED
    later = codes.copy()
    for _ in range(draw(st.integers(0, 20))):
        at = rng.integers(FRAMES - RESERVED_FRAMES)
        if later[at] in {FREE, KERNEL, ANON, FILE}:
            later[at] = KERNEL if later[at] == FREE else FREE
    return codes, later


@settings(max_examples=60, deadline=None)
@given(memories(), st.sampled_from(["4K", "16K", "64K"]))
def test_buddyinfo_of_random_memory_is_what_was_recorded(tmp_path_factory, memory, page_size):
    codes, later = memory
    folder = tmp_path_factory.mktemp("proc")
    top = geometry(page_size).max_page_order
    line = line_of(natural(later, top), top)
    image = snapshot(proc_folder(folder, codes, line), name="random", page_size=page_size)
    assert image.free_blocks().tolist() == line
    # what could not be read at one moment is all that was changed, or less
    if (codes == later).all():
        assert image.meta["adjusted_pages"] == 0
    for strategy in ("null", "pba"):
        with Machine(Strategy(strategy), page_size=page_size, state=State(image=image)) as machine:
            assert sums(machine) == line
            machine.check()
            machine.boot()
            machine.check()


@pytest.mark.parametrize("flip", ["one page more is free", "one page less is free"])
def test_snapshot_with_one_page_of_difference_changes_one_page(tmp_path, flip):
    codes = small_machine(np.random.default_rng(3))
    later = codes.copy()
    if flip == "one page more is free":
        later[np.flatnonzero(codes == ANON)[7]] = FREE
    else:
        later[np.flatnonzero(codes == FREE)[4000]] = KERNEL
    image = snapshot(proc_folder(tmp_path / "p", codes, line_of(natural(later))), name="x")
    assert image.meta["adjusted_pages"] == 1
    assert image.free_blocks().tolist() == line_of(natural(later))


def test_snapshot_of_blocks_that_types_keep_apart_loses_nothing(tmp_path):
    codes = small_machine()
    line = line_of(natural(codes))
    # CMA beside movable memory: two pageblocks that are free do not merge
    line[TOP] -= 1
    line[TOP - 1] += 2
    image = snapshot(proc_folder(tmp_path / "p", codes, line), name="x")
    assert image.meta["adjusted_pages"] == 0
    with Machine(Strategy("null"), state=State(image=image)) as machine:
        assert sums(machine) == line
        machine.check()


def test_kernel_that_flags_first_pages_alone_gives_the_same_line(tmp_path):
    codes = small_machine(np.random.default_rng(9))
    blocks = natural(codes)
    folder = proc_folder(tmp_path / "p", codes)
    heads = np.zeros(FRAMES, bool)
    heads[list(blocks)] = True
    write_flags(folder, codes, heads)
    image = snapshot(folder, name="old")
    assert image.free_blocks().tolist() == line_of(blocks)
    with Machine(Strategy("null"), state=State(image=image)) as machine:
        assert sums(machine) == line_of(blocks)


def test_zones_are_summed_and_one_can_be_picked(tmp_path):
    codes = small_machine()
    half = FRAMES // 2
    lines = {
        "DMA": line_of({k: v for k, v in natural(codes).items() if k < half}),
        "Normal": line_of({k: v for k, v in natural(codes).items() if k >= half}),
    }
    folder = proc_folder(tmp_path / "p", codes)
    (folder / "buddyinfo").write_text(buddyinfo_text(lines))
    (folder / "zoneinfo").write_text(
        zoneinfo_text("DMA", 0, half, half - 3)
        + zoneinfo_text("Normal", half, half, half - RESERVED_FRAMES)
    )
    image = snapshot(folder, name="both")
    assert image.free_blocks().tolist() == [a + b for a, b in zip(*lines.values(), strict=True)]
    assert image.managed_pages == FRAMES - 3 - RESERVED_FRAMES
    assert image.watermarks == (40, 60, 80)
    assert [z["pcp_pages"] for z in image.meta["zones"]] == [7, 7]
    one = snapshot(folder, name="one", zone="Normal")
    assert one.free_blocks().tolist() == lines["Normal"]
    assert one.frames_of(HOLE) == half
    with Machine(Strategy("pba"), state=State(image=one)) as machine:
        assert sums(machine) == lines["Normal"]
        machine.check()
    with pytest.raises(StateError, match="zone 'DMA32': there are 0:DMA, 0:Normal"):
        snapshot(folder, name="none", zone="DMA32")


def test_iomem_makes_what_is_no_ram_a_hole(tmp_path):
    codes = small_machine()
    iomem = (
        "00000000-00001fff : Reserved\n00002000-017fffff : System RAM\n"
        "  00100000-001fffff : Kernel code\n01800000-01ffffff : PCI\n"
        "02000000-03ffffff : System RAM\n"
    )
    codes[:2] = RESERVED
    later = codes.copy()
    later[:2] = HOLE
    later[0x1800:0x2000] = HOLE
    image = snapshot(
        proc_folder(tmp_path / "p", codes, line_of(natural(later)), iomem=iomem), name="x"
    )
    assert image.frames_of(HOLE) == 2 + 0x800
    assert image.meta["adjusted_pages"] == 0
    with Machine(Strategy("noblock"), state=State(image=image)) as machine:
        machine.check()
        assert machine.state()["ram_pages"] == FRAMES - 2 - 0x800


def test_iomem_that_hides_addresses_is_said_to_be_unread(tmp_path):
    iomem = "00000000-00000000 : System RAM\n"
    image = snapshot(proc_folder(tmp_path / "p", small_machine(), iomem=iomem), name="x")
    assert ["iomem", "it hides addresses from all but root"] in image.meta["unread"]
    assert ["zoneinfo", "No such file or directory"] in image.meta["unread"]
    assert image.frames_of(HOLE) == 0


def pagetypeinfo_text(by_type, blocks):
    names = ("Unmovable", "Movable", "Reclaimable")
    text = "Page block order: 9\nPages per block:  512\n\n"
    text += "Free pages count per migrate type at order  " + " ".join(map(str, range(TOP + 1)))
    for name, counts in zip(names, by_type, strict=True):
        text += f"\nNode    0, zone      DMA, type {name:>12} " + " ".join(map(str, counts))
    text += "\nNode    0, zone      DMA, type  HighAtomic " + " ".join(["0"] * (TOP + 1))
    text += "\n\nNumber of blocks type     Unmovable      Movable  Reclaimable   HighAtomic \n"
    return text + "Node 0, zone      DMA " + " ".join(map(str, [*blocks, 0])) + "\n"


BY_TYPE = (
    [3, 2, 0, 1, 0, 0, 2, 0, 1, 0, 1],
    [40, 30, 20, 11, 5, 3, 2, 1, 1, 1, 3],
    [5, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0],
)


@pytest.mark.parametrize("with_types", [True, False])
def test_numbers_without_places_are_drawn_and_exact(tmp_path, with_types):
    line = [sum(column) for column in zip(*BY_TYPE, strict=True)]
    (tmp_path / "buddyinfo").write_text(buddyinfo_text({"DMA": line}))
    (tmp_path / "zoneinfo").write_text(zoneinfo_text("DMA", 1 << 18, FRAMES, FRAMES - 2048))
    (tmp_path / "meminfo").write_text(
        f"MemFree: {sum(n << o for o, n in enumerate(line)) * 4} kB\nAnonPages: 8000 kB\n"
        "Cached: 4000 kB\nBuffers: 0 kB\nShmem: 0 kB\nPageTables: 40 kB\n"
    )
    if with_types:
        (tmp_path / "pagetypeinfo").write_text(pagetypeinfo_text(BY_TYPE, (6, 20, 2)))
    image = snapshot(tmp_path, name="x", seed=5)
    assert image.meta["variant"] == ("pagetypeinfo" if with_types else "buddyinfo")
    assert image.free_blocks().tolist() == line
    if with_types:
        assert free_by_type(image).T.tolist() == [list(counts) for counts in BY_TYPE]
    assert image.phys_base == 1 << 30
    assert 0 < image.frames_of(ANON) < 2500
    assert snapshot(tmp_path, name="x", seed=5).sha256 == image.sha256
    assert snapshot(tmp_path, name="x", seed=6).sha256 != image.sha256
    with Machine(Strategy("pba"), state=State(image=image)) as machine:
        assert sums(machine) == line
        if with_types:
            assert machine.buddyinfo().T.tolist() == [list(counts) for counts in BY_TYPE]
        machine.check()
        machine.boot()
        machine.check()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 9), st.integers(0, 99))
def test_any_numbers_are_drawn_exactly(tmp_path_factory, low, high, seed):
    folder = tmp_path_factory.mktemp("proc")
    line = low + [0] * (TOP - len(low)) + [high]
    (folder / "buddyinfo").write_text(buddyinfo_text({"Normal": line}))
    (folder / "zoneinfo").write_text(zoneinfo_text("Normal", 0, FRAMES * 4, FRAMES * 4 - 2048))
    image = snapshot(folder, name="drawn", seed=seed)
    assert image.free_blocks().tolist() == line
    with Machine(Strategy("pba"), state=State(image=image)) as machine:
        assert sums(machine) == line
        machine.check()


def test_only_buddyinfo_is_enough(tmp_path):
    (tmp_path / "buddyinfo").write_text(
        buddyinfo_text({"Normal": [9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 30]})
    )
    image = snapshot(tmp_path, name="x")
    with Machine(Strategy("noblock"), state=State(image=image)) as machine:
        assert sums(machine) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 30]


def spoil(folder, name, text):
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("buddyinfo", "Node 0, zone DMA x\n", r"buddyinfo:1: .* is not what the kernel writes"),
        ("buddyinfo", "\n", r"buddyinfo:1"),
        ("buddyinfo", "Node 0, zone DMA " + "1 " * 30, r"buddyinfo:1"),
        ("buddyinfo", "Node 0, zone DMA " + "0 " * 11 + "4", r"order 11: .* largest is 10"),
        ("buddyinfo", "Node 0, zone DMA 999999999999999", r"more pages than a machine of 1 TB"),
        ("buddyinfo", "Node 0, zone DMA 1 2 3 4 5 6 7 8 9 1 99", r"than fit into RAM"),
        ("zoneinfo", "Node 0, zone DMA\n  spanned  x\n", r"zoneinfo:2"),
        ("pagetypeinfo", "Node 0, zone DMA, type Funny 1 2\n", r"pagetypeinfo:1"),
        ("meminfo", "MemFree:\n", r"meminfo:1"),
        ("iomem", "00-zz : System RAM\n", r"iomem:1"),
        ("iomem", "1000-2000 : System RAM\n", r"no frame is RAM|than fit into RAM"),
        ("kpageflags", "123", r"ends within a word"),
        ("kpageflags", "", r"it is empty"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_one_line(tmp_path, name, text, message):
    folder = proc_folder(tmp_path / "p", small_machine())
    spoil(folder, name, text)
    with pytest.raises(StateError, match=message) as caught:
        snapshot(folder, name="x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pagetypeinfo", "zoneinfo"])
def test_file_that_says_nothing_is_named_as_not_read(tmp_path, name):
    line = [sum(column) for column in zip(*BY_TYPE, strict=True)]
    (tmp_path / "buddyinfo").write_text(buddyinfo_text({"DMA": line}))
    (tmp_path / "zoneinfo").write_text(zoneinfo_text("DMA", 1 << 18, FRAMES, FRAMES - 2048))
    (tmp_path / "pagetypeinfo").write_text(pagetypeinfo_text(BY_TYPE, (6, 20, 2)))
    assert name not in dict(snapshot(tmp_path, name="x").meta["unread"])
    spoil(tmp_path, name, "what somebody else wrote\n")
    assert "says nothing" in dict(snapshot(tmp_path, name="x").meta["unread"])[name]


def test_snapshot_without_any_file_names_the_folder(tmp_path):
    with pytest.raises(StateError, match="neither buddyinfo nor kpageflags"):
        snapshot(tmp_path, name="x")


def test_compressed_flags_are_read_and_a_cut_file_is_refused(tmp_path):
    import lzma

    folder = proc_folder(tmp_path / "p", small_machine())
    data = (folder / "kpageflags").read_bytes()
    plain = snapshot(folder, name="x").sha256
    (folder / "kpageflags").unlink()
    packed = lzma.compress(data)
    (folder / "kpageflags.xz").write_bytes(packed)
    assert snapshot(folder, name="x").sha256 == plain
    (folder / "kpageflags.xz").write_bytes(packed[:-20])
    with pytest.raises(StateError, match="cut short"):
        snapshot(folder, name="x")


def test_page_size_follows_from_free_memory(tmp_path):
    (tmp_path / "buddyinfo").write_text(
        buddyinfo_text({"DMA": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]})
    )
    pages = 3 + (9 << 11)
    (tmp_path / "meminfo").write_text(f"MemFree: {pages * 16 + 64} kB\nMemTotal: {pages * 32} kB\n")
    image = snapshot(tmp_path, name="x")
    assert image.page_size == "16K"
    with Machine(Strategy("pba"), page_size="16K", state=State(image=image)) as machine:
        assert sums(machine) == image.meta["buddyinfo"]


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_natural_blocks_are_what_merging_gives(seed, share):
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random(4096) * 400 < share, KERNEL, FREE).astype(np.uint8)
    steps = np.diff((codes == FREE).astype(np.int8), prepend=0, append=0)
    first, order = natural_blocks(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), TOP)
    assert dict(zip(first.tolist(), order.tolist(), strict=True)) == natural(codes)


def test_borders_of_zones_are_crossed_by_no_block():
    codes = np.full(4096, FREE, np.uint8)
    first, order = FreeBlocks(codes, [1536], FACTS).blocks()
    assert list(zip(first.tolist(), order.tolist(), strict=True)) == [
        (0, 10),
        (1024, 9),
        (1536, 9),
        (2048, 10),
        (3072, 10),
    ]


# --- files ---


def test_image_saved_and_loaded_is_the_same(tmp_path):
    image = a_small_image()
    path = tmp_path / "x.kps"
    save_image(image, path)
    loaded = load_image(path)
    assert loaded == image
    assert loaded.sha256 == image.sha256
    assert (loaded.runs == image.runs).all()
    assert dict(loaded.meta) == dict(image.meta)
    # the identity is of the memory, not of what is said about it
    assert a_small_image(name="other").sha256 == image.sha256


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_file_ends_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("kps") / "x.kps"
    save_image(a_small_image(), path)
    content = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "grow", "mend"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if how in {"flip", "mend"}:
        content[at] ^= data.draw(st.integers(1, 255))
    if how == "mend":
        # a checksum that is right again does not make the rest right
        content[-4:] = struct.pack("<I", zlib.crc32(bytes(content[:-4])))
    if how == "cut":
        del content[at:]
    if how == "grow":
        content += bytes(at + 1)
    path.write_bytes(content)
    message = ""
    try:
        loaded = load_image(path)
    except StateError as error:
        message = str(error)
    if message:
        assert "\n" not in message
        assert message.startswith(str(path))
    else:
        # only what the metadata say may differ
        assert loaded.sha256 == a_small_image().sha256


def forge(path, **changes):
    """A file that lies about itself, with checksums that are right."""
    image = a_small_image()
    raw = images._encode(image)
    payload = zlib.compress(changes.pop("raw", raw), 9)
    meta = changes.pop("meta", json.dumps(dict(image.meta)).encode())
    header = images._header_of(image)._replace(
        meta_bytes=len(meta),
        payload_bytes=len(payload),
    )
    header = header._replace(**changes)
    if "sha256" not in changes:
        header = header._replace(sha256=images._digest(header, raw))
    body = images._HEADER.pack(*header) + meta + payload
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "format version 2"),
        ({"page_size": 8192}, "pages of 8192 bytes"),
        ({"nr_runs": 1 << 40}, "claims 1099511627776 runs"),
        ({"nr_places": 1 << 23}, "claims 6 runs and 8388608 places"),
        ({"nr_runs": 0}, "claims 0 runs"),
        ({"ram_bytes": 1 << 60}, "bytes of RAM, the limit is"),
        ({"nr_blocks": 31}, "claims 31 pageblocks where its RAM has 32"),
        ({"meta_bytes": 1 << 20}, "bytes of metadata, the limit"),
        ({"payload_bytes": 1 << 20}, "bytes of payload, outside"),
        ({"phys_base": 4096}, "no multiple of 1 GB"),
        ({"sha256": bytes(32)}, "does not match its sha256"),
        ({"meta": b"[]"}, "metadata that is no object"),
        ({"meta": b"{}"}, "name 'None' is not one line"),
        ({"meta": b"{"}, "metadata that is not JSON"),
        ({"meta": b'{"name": "a\\u001b[2J", "source": "b"}'}, "is not one line"),
        *(
            ({"meta": b'{"name": "a", "source": "b", ' + rest + b"}"}, "makes no sense")
            for rest in (
                b'"zones": [{}]',
                b'"zones": 5',
                b'"buddyinfo": ["x"]',
                b'"buddyinfo": [-1]',
                b'"free_by_type": {"movable": 3}',
                b'"free_by_type": {"other": []}',
                b'"unread": [["a"]]',
                b'"notes": ["\\u001b"]',
                b'"direct_map_kb": {"a": "b"}',
                b'"page_tables_kb": 1.5',
                b'"adjusted_pages": "many"',
                b'"variant": 3',
            )
        ),
        ({"raw": bytes(100)}, "does not decompress to exactly"),
        ({"raw": bytes(1 << 16)}, "does not decompress to exactly"),
    ],
)
def test_file_that_lies_about_itself_is_refused(tmp_path, changes, message):
    path = tmp_path / "liar.kps"
    forge(path, **changes)
    with pytest.raises(StateError, match=message):
        load_image(path)


def test_file_that_claims_much_is_refused_before_memory_is_used(tmp_path):
    import tracemalloc

    path = tmp_path / "bomb.kps"
    forge(path, raw=bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(StateError):
        load_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_runs_that_c_refuses_end_in_one_line_that_names_the_state():
    image = image_of([(FREE, 0, 4096), (FREE, 10, 11), (RESERVED, 0, 1024)], name="split")
    with pytest.raises(ConfigError, match=r"state split: memory image: .* must be one block"):
        Machine(Strategy("pba"), state=State(image=image))


# --- save, load, go on ---


def random_pins(rng, nr, first_slot):
    """Pins of any order and type, and unpins of some of them."""
    ops = []
    live = []
    slot = first_slot
    for _ in range(nr):
        if live and rng.random() < 0.45:
            ops.append((live.pop(int(rng.integers(len(live)))), UNPIN, int(rng.integers(4)), 0, 0))
            continue
        order = int(rng.choice([0, 0, 0, 1, 2, 3, 4, 6, 9]))
        ops.append((slot, PIN, int(rng.integers(4)), int(rng.integers(3)), order))
        live.append(slot)
        slot += 1
    return np.array(ops, OP_DTYPE), slot


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("page_size", ["4K", "64K"])
def test_saved_machine_goes_on_as_if_it_had_not_been_saved(tmp_path, seed, page_size):
    rng = np.random.default_rng(seed)
    before, slots = random_pins(rng, 3000, 0)
    after, slots = random_pins(rng, 3000, slots)
    ram = (64 << 20) * (1 if page_size == "4K" else 128)
    with Machine(Strategy("null"), page_size=page_size, ram=ram) as one:
        one.boot()
        one.set_slots(slots)
        one.replay(before)
        image = one.save_state(tmp_path / "x.kps")
        with Machine(
            Strategy("null"), page_size=page_size, state=State(image=load_image(tmp_path / "x.kps"))
        ) as other:
            assert (one.buddyinfo() == other.buddyinfo()).all()
            other.boot()
            other.set_slots(slots)
            counters = one.counters()
            for machine in (one, other):
                machine.record(0)
                machine.replay(after)
            # a pin's frame is in no event: compare them all
            assert (one.slot_pfns()[int(before["slot"].max()) + 1 :] != 0).any()
            mine = set(after["slot"].tolist())
            for slot in mine:
                assert one.slot_pfns()[slot] == other.slot_pfns()[slot]
            assert one.digest() == other.digest()
            assert (one.buddyinfo() == other.buddyinfo()).all()
            assert (one.pageblock_types() == other.pageblock_types()).all()
            for order in range(geometry(page_size).max_page_order + 1):
                for kind in range(3):
                    assert (one.free_pfns(order, kind) == other.free_pfns(order, kind)).all()
            gone = {
                name: value - counters[name]
                for name, value in one.counters().items()
                if isinstance(value, int) and not name.endswith(("_peak_pages", "low_water_pages"))
            }
            for name, value in other.counters().items():
                if name in gone:
                    assert value == gone[name], name
            other.check()
    assert image.meta["variant"] == "simulation"


def random_tables_and_pins(rng, nr, slot):
    """The same with page tables, which noblock fetches one by one."""
    ops = []
    live = []
    for _ in range(nr):
        cpu = int(rng.integers(4))
        if live and rng.random() < 0.45:
            old, kind = live.pop(int(rng.integers(len(live))))
            ops.append((old, UNPIN if kind == PIN else FREE_TABLE, cpu, 0, 0))
            continue
        kind = ALLOC if rng.random() < 0.6 else PIN
        order = int(rng.integers(2)) if kind == ALLOC else int(rng.choice([0, 0, 1, 2, 3, 4, 6]))
        ops.append((slot, kind, cpu, int(rng.integers(3)), order))
        live.append((slot, kind))
        slot += 1
    return np.array(ops, OP_DTYPE), slot


@pytest.mark.parametrize("seed", range(3))
def test_saved_machine_without_a_cache_goes_on_with_the_same_tables(seed):
    rng = np.random.default_rng(seed)
    before, slots = random_tables_and_pins(rng, 3000, 0)
    after, slots = random_tables_and_pins(rng, 3000, slots)
    with Machine(Strategy("noblock"), ram=128 << 20) as one:
        one.boot()
        one.set_slots(slots)
        one.replay(before)
        with Machine(Strategy("noblock"), state=State(image=one.image("x"))) as other:
            other.boot()
            other.set_slots(slots)
            for machine in (one, other):
                machine.record(0)
                machine.replay(after)
            mine = np.unique(after["slot"])
            assert (one.slot_pfns()[mine] == other.slot_pfns()[mine]).all()
            assert one.digest() == other.digest()
            assert (one.buddyinfo() == other.buddyinfo()).all()


@pytest.mark.parametrize("strategy", ["pba", "noblock", "null", "deferred-list"])
@pytest.mark.parametrize("start", ["fresh", "aged:share=0.5,pins=4", "many-half"])
def test_state_of_a_running_machine_can_begin_another(strategy, start):
    from kpkeys_bench.workloads.workload import parse_workload

    workload = parse_workload("random")
    first = parse_state(start)
    with Machine(
        Strategy(strategy), ram=None if first.image else 1 << 30, state=first, seed=3
    ) as machine:
        machine.boot()
        machine.set_slots(workload.nr_slots)
        for ops, repeat in workload.batches(20_000, 1):
            machine.replay(ops, repeat)
        image = machine.image("reached")
        live = 0 if strategy == "null" else machine.state()["live_pages"]
        line = sums(machine)
    assert image.free_blocks().tolist() == line
    recorded = first.image.frames_of(PGTABLE) if first.image else 0
    assert image.frames_of(PGTABLE) >= recorded + live
    with Machine(Strategy(strategy), state=State(image=image)) as machine:
        assert sums(machine) == line
        machine.check()
        machine.boot()
        machine.check()


def test_allocator_file_begins_with_the_recorded_buddyinfo():
    state = parse_state("many-half")
    assert state.image is not None
    with Machine(Strategy(str(V6)), state=state) as machine:
        assert sums(machine) == state.image.meta["buddyinfo"]
        machine.check()
        machine.boot()
        machine.check()
        assert machine.counters()["warnings"] == 0


def test_state_cannot_be_saved_while_a_task_is_under_way():
    with Machine(Strategy("noblock"), ram=64 << 20) as machine:
        machine.boot()
        machine.set_slots(1)
        stopped = machine.step(np.zeros(1, OP_DTYPE)[0], stop_at="alloc_pages")
        assert stopped.state == "stopped"
        with pytest.raises(MachineError, match="let it finish"):
            machine.image("x")
        assert machine.resume(0).state == "idle"
        assert machine.image("x").frames_of(PGTABLE) == 1


# --- named states ---


def test_recorded_states_reproduce_their_scatter():
    # page tables, areas of 2 MB that hold one, and the least that could, as they were published
    expected = {
        "after-boot": (53, 9, 1),
        "many-peak": (3479, 23, 7),
        "many-half": (1786, 23, 4),
        "many-after": (91, 21, 1),
        "many-before": (88, 18, 1),
        "redis-peak": (137, 11, 1),
    }
    found = {}
    for name, path in recorded_states().items():
        image = load_image(path)
        row = scatter(image)["2M"]
        found[name] = (image.frames_of(PGTABLE), row["areas"], row["least"])
        assert row["total"] == 2048
    assert found == expected


@pytest.mark.parametrize("name", list(recorded_states()))
@pytest.mark.parametrize("strategy", ["pba", "noblock"])
def test_recorded_state_starts_a_machine_with_its_buddyinfo(name, strategy):
    state = parse_state(name)
    assert state.name == name
    assert state.image is not None
    with Machine(Strategy(strategy), state=state) as machine:
        assert sums(machine) == state.image.meta["buddyinfo"]
        assert machine.state()["ram_pages"] == 4 << 18
        machine.check()
        machine.boot()
        machine.check()


def test_aged_degree_is_the_same_whatever_the_seed():
    state = parse_state("aged-50")
    assert (state.aged_share, state.name, state.sha256) == (0.5, "aged-50", "")
    lines = []
    for seed in (1, 2):
        with Machine(Strategy("pba"), ram=1 << 30, state=state, seed=seed) as machine:
            lines.append(sums(machine))
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ram": 1 << 30}, "ram 1073741824: state many-half has 4294967296"),
        ({"phys_base": 0}, "phys_base 0: state many-half has 1073741824"),
        ({"page_size": "16K"}, "give --page-size 4K"),
        ({"nr_static_pgtables": 1}, "many-half: .* give none beside it"),
        ({"holes": [(1 << 30, 4096)]}, "many-half: .* give none beside it"),
    ],
)
def test_machine_that_contradicts_its_state_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Machine(state=parse_state("many-half"), **options)


def test_state_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="state 'nope': give fresh"):
        parse_state("nope")
    with pytest.raises(StateError, match="cannot read: No such file"):
        parse_state(str(tmp_path / "nope.kps"))


# --- commands ---


def run_cli(*args):
    result = click.testing.CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_snapshot_command_writes_a_state_that_show_reproduces(tmp_path):
    codes = small_machine(np.random.default_rng(1))
    folder = proc_folder(tmp_path / "p", codes)
    path = tmp_path / "mine.kps"
    document = json.loads(run_cli("snapshot", "--proc", folder, "-o", path, "--json", "-"))
    assert document["state"]["name"] == "mine"
    assert document["state"]["pages"]["pgtable"] == 1
    assert [row["areas"] for row in document["scatter"]] == [1, 1, 1, 1]
    shown = json.loads(run_cli("state", "show", path, "--json", "-"))
    assert shown["state"]["sha256"] == document["state"]["sha256"] == load_image(path).sha256
    for row in shown["buddyinfo"]:
        assert row["recorded"] == row["simulated"] == line_of(natural(codes))[row["order"]]


def test_snapshot_command_says_that_places_are_not_known(tmp_path):
    (tmp_path / "buddyinfo").write_text(buddyinfo_text({"Normal": [0] * 10 + [30]}))
    (tmp_path / "meminfo").write_text("PageTables: 400 kB\nMemTotal: 200000 kB\n")
    text = run_cli("snapshot", "--proc", tmp_path, "--page-size", "4K")
    assert "where page tables are is not known" in text
    assert "not read: kpageflags: No such file" in text
    rows = json.loads(run_cli("snapshot", "--proc", tmp_path, "--json", "-"))["scatter"]
    assert rows[0]["page_tables"] == 100
    assert rows[0]["areas"] is None


def test_make_command_saves_what_a_workload_leaves(tmp_path):
    path = tmp_path / "left.kps"
    run_cli("state", "make", "--workload", "random", "--ops", "5k", "--ram", "256M", "-o", path)
    state = parse_state(str(path))
    assert state.name == "left"
    assert state.image is not None
    assert state.image.frames_of(PGTABLE) > 0
    again = tmp_path / "again.kps"
    run_cli("state", "make", "--state", path, "--workload", "random", "--ops", "5k", "-o", again)
    assert load_image(again).frames_of(PGTABLE) > state.image.frames_of(PGTABLE)


def test_show_command_shows_states_without_a_file():
    shown = json.loads(run_cli("state", "show", "fresh", "--ram", "1G", "--json", "-"))
    assert shown["buddyinfo"][10]["recorded"] is None
    pages = sum(row["simulated"] << row["order"] for row in shown["buddyinfo"])
    assert pages == shown["state"]["pages"]["free"]
    csv = run_cli("state", "show", "aged-25", "--ram", "64M", "--csv", "-")
    assert csv.splitlines()[0].startswith("order,recorded,simulated,recorded_unmovable")


def test_compare_carries_the_state_and_refuses_a_size_beside_it(tmp_path):
    out = tmp_path / "x.json"
    run_cli(
        "compare",
        "--allocator",
        "pba",
        "--refill-orders",
        "9,4,2",
        "--workload",
        "random",
        "--ops",
        "1k",
        "--state",
        "many-after",
        "--timing",
        "none",
        "--json",
        out,
    )
    row = json.loads(out.read_text())["runs"][0]
    assert (row["state"], row["ram_bytes"]) == ("many-after", 4 << 30)
    assert row["state_sha256"] == load_image(recorded_states()["many-after"]).sha256
    with pytest.raises(ConfigError, match="leave --ram out"):
        run_cli("compare", "--state", "many-after", "--ram", "4G", "--ops", "1k")


# --- the picture ---


def test_frames_before_counts_what_lies_below():
    image = a_small_image()
    at = [0, 1, 2, 4, 1024, 1025, FRAMES]
    assert figure.frames_before(image, (FREE,), at).tolist() == [0, 0, 1, 3, 1023, 1024, 15359]
    assert figure.frames_before(image, (HOLE,), at).tolist() == [0] * 7
    for cell in (512, 1024, 4096):
        assert np.allclose(figure.shares(image, cell).sum(axis=1), 1)


def test_colour_of_a_cell_is_what_is_in_use_and_paler_where_it_is_little():
    colours = np.array([[1.0, 1.0, 1.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.0]])
    share = np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [7 / 8, 0, 1 / 8]])
    pixels = figure.cell_colours(share, colours)
    expected = [[1, 1, 1], [0, 0.5, 1], [0.5, 0.25, 0.5], [1, 0.5, 0.5]]
    assert np.allclose(pixels, expected)


def test_picture_of_a_state_is_drawn(tmp_path):
    path = tmp_path / "x.png"
    run_cli("state", "show", "many-half", "--plot", path, "--csv", tmp_path / "x.csv")
    assert path.read_bytes().startswith(b"\x89PNG")


# --- this machine ---


@pytest.mark.skipif(not os.access("/proc/buddyinfo", os.R_OK), reason="no /proc/buddyinfo")
def test_snapshot_of_this_machine_starts_one_with_its_buddyinfo():
    try:
        image = snapshot(Path("/proc"), name="here")
    except StateError as error:
        # a machine that cannot be simulated, such as one of more than 1 TB
        pytest.skip(str(error))
    state = State(image=image)
    with Machine(Strategy("pba"), page_size=image.page_size, state=state) as machine:
        recorded = image.meta["buddyinfo"]
        assert sums(machine)[: len(recorded)] == recorded
        machine.check()


def test_lists_of_places_are_read_only():
    image = a_small_image()
    with pytest.raises(ValueError, match="read-only"):
        image.runs["nr"][0] = 5
    assert all(a["first"] < b["first"] for a, b in pairwise(image.runs))


@pytest.mark.parametrize("option", [["--ram", "8G"], ["--page-size", "4K"]])
def test_show_of_a_machines_state_takes_no_size_beside_it(option):
    with pytest.raises(ConfigError, match=r"state many-half is of a machine .* leave it out"):
        run_cli("state", "show", "many-half", *option)
