# SPDX-License-Identifier: GPL-2.0-only
"""The only importer of the compiled module.

Above this file nobody sees cdata: structs leave it as dicts of ints, arrays
as numpy arrays, error codes as the project's exceptions.
"""

import errno
import operator
import os

import numpy as np

from kpkeys_bench._kpb import ffi, lib
from kpkeys_bench.errors import ConfigError, KpbError, MachineBusyError, MachineError
from kpkeys_bench.workloads.ops import OP_DTYPE

if ffi.sizeof("struct kpb_op") != OP_DTYPE.itemsize:
    raise ImportError("struct kpb_op and OP_DTYPE differ: rebuild the extension")

PATHS = (
    "alloc_fast",
    "alloc_refill",
    "alloc_refill_split",
    "free",
    "shrink",
    "split_other",
)
CAUSES = ("boot", "late_init", "refill", "release", "other")
TIMING_MODES = ("none", "chained", "bracket", "sample", "model")
LINEAR_MAPS = ("block", "pte")
POINTS = (
    "none",
    "alloc_pages",
    "free_pages",
    "mutex_lock",
    "mutex_unlock",
    "set_pkey",
    "split",
    "reclaim",
    "charge",
    "memblock",
)
FAULT_POINTS = ("alloc_pages", "set_pkey", "charge", "memblock")
FAULT_MODES = ("off", "nth", "every", "share")
CONTEXTS = ("process", "atomic", "memalloc")
TASK_STATES = ("idle", "stopped", "blocked")
LEAF_SIZES = ("pud", "contpmd", "pmd", "contpte")
EVENT_KINDS = (
    "refill",
    "refill_failed",
    "release",
    "set_pkey",
    "set_memory",
    "set_failed",
    "split",
    "split_ptp",
    "tlbi",
    "warn",
    "mutex_wait",
    "fault",
    "charge_failed",
    "slowpath",
    "compact",
    "reclaim",
    "reclaim_end",
    "shrink",
    "shrink_end",
    "oom",
    "alloc_failure",
    "sleep_in_atomic",
    "drain",
    "zero",
    "log",
)
BBML2 = ("all", "none", "boot-only", "late-cpu")
RODATA = ("full", "on", "off")
PHASES = ("linear_map", "buddy", "window", "smp", "late_init", "running")
BOOT_CAUSES = (
    "linear_map",
    "irq_stack",
    "idle_thread",
    "percpu_thread",
    "ioremap",
    "percpu",
    "linear_map_split",
    "other_split",
)
LEVELS = ("pte", "pmd", "pud", "p4d")
MAX_POSSIBLE_CPUS = lib.KPB_MAX_POSSIBLE_CPUS
MAX_U32 = (1 << 32) - 1
MAX_U64 = (1 << 64) - 1
MAX_ORDERS = lib.KPB_MAX_ORDERS
MAX_REFILL_ORDERS = lib.KPB_MAX_REFILL_ORDERS
MIGRATE_TYPES = lib.KPB_MIGRATE_TYPES
HIST_BUCKETS = lib.KPB_HIST_BUCKETS

if (
    len(PATHS) != lib.KPB_NR_PATHS
    or len(CAUSES) != lib.KPB_NR_CAUSES
    or len(POINTS) != lib.KPB_NR_POINTS
    or len(CONTEXTS) != lib.KPB_NR_CONTEXTS
    or len(EVENT_KINDS) != lib.KPB_NR_EVENT_KINDS
    or len(BBML2) != lib.KPB_NR_BBML2
    or len(RODATA) != lib.KPB_NR_RODATA
    or len(PHASES) != lib.KPB_NR_PHASES
    or len(BOOT_CAUSES) != lib.KPB_NR_BOOT_CAUSES
    or len(LEVELS) != lib.KPB_NR_LEVELS
):
    raise ImportError("kpb_api.cdef.h and _ffi.py differ: rebuild the extension")

_TIMES_DTYPE = np.dtype(
    [
        ("count", "u8"),
        ("sum_ticks", "u8"),
        ("max_ticks", "u8"),
        ("hist", "u8", (HIST_BUCKETS,)),
    ]
)
if ffi.sizeof("struct kpb_path_times") != _TIMES_DTYPE.itemsize:
    raise ImportError("struct kpb_path_times and its dtype differ: rebuild the extension")

EVENT_DTYPE = np.dtype(
    [
        ("a", "<u8"),
        ("b", "<u4"),
        ("c", "<u4"),
        ("op", "<u8"),
        ("kind", "u1"),
        ("task", "u1"),
        ("cause", "u1"),
        ("depth", "u1"),
        ("unused", "<u4"),
    ]
)
if ffi.sizeof("struct kpb_event") != EVENT_DTYPE.itemsize:
    raise ImportError("struct kpb_event and its dtype differ: rebuild the extension")

RUN_DTYPE = np.dtype(
    [("first", "<u4"), ("nr", "<u4"), ("kind", "u1"), ("order", "u1"), ("unused", "<u2")]
)
PLACE_DTYPE = np.dtype([("first", "<u4"), ("cpu", "<u2"), ("type", "u1"), ("unused", "u1")])
if (
    ffi.sizeof("struct kpb_run") != RUN_DTYPE.itemsize
    or ffi.sizeof("struct kpb_place") != PLACE_DTYPE.itemsize
):
    raise ImportError("a memory image and its dtypes differ: rebuild the extension")

RUN_KINDS = (
    "hole",
    "reserved",
    "kernel",
    "pgtable",
    "slab",
    "file",
    "anon",
    "system_slab",
    "system_kernel",
    "pcp",
    "free",
)
if len(RUN_KINDS) != lib.KPB_NR_RUN_KINDS:
    raise ImportError("kpb_api.cdef.h and _ffi.py differ: rebuild the extension")

_COUNTER_FIELDS = [name for name, _ in ffi.typeof("struct kpb_counters").fields]
_MAP_FIELDS = [name for name, _ in ffi.typeof("struct kpb_map_counters").fields]
COSTS = tuple(name.removesuffix("_ps") for name, _ in ffi.typeof("struct kpb_costs").fields)
_STATE_FIELDS = [name for name, _ in ffi.typeof("struct kpb_state").fields]
_BOOT_FIELDS = [name for name, _ in ffi.typeof("struct kpb_boot_counters").fields if name != "ptps"]
_AUDIT_FIELDS = [name for name, _ in ffi.typeof("struct kpb_audit").fields]


def _text(chars):
    return ffi.string(chars).decode("utf-8", "replace")


def _check(rc, what="the machine"):
    """Turn a negative return value into the project's exception."""
    if rc >= 0:
        return rc
    if rc == -errno.EBUSY:
        raise MachineBusyError(
            f"{what} is in use by another thread: give each thread a machine of its own"
        )
    if rc == -errno.ENOMEM:
        raise MachineError(f"{what}: the host is out of memory")
    raise MachineError(f"{what}: {os.strerror(-rc)}")


def _fields(struct, names):
    result = {}
    for name in names:
        value = getattr(struct, name)
        result[name] = value if isinstance(value, int) else list(value)
    return result


def _names(getter):
    names = []
    while (name := getter(len(names))) != ffi.NULL:
        names.append(_text(name))
    return tuple(names)


ALLOCATORS = _names(lib.kpb_allocator_name)
ALLOCATOR_HELP = dict(zip(ALLOCATORS, _names(lib.kpb_allocator_help), strict=True))
ALLOCATOR_PARAMS = {
    name: (_text(param), lib.kpb_allocator_default_param(i))
    for i, name in enumerate(ALLOCATORS)
    if (param := lib.kpb_allocator_param(i)) != ffi.NULL
}
GENERATORS = _names(lib.kpb_gen_name)
GENERATOR_HELP = dict(zip(GENERATORS, _names(lib.kpb_gen_help), strict=True))
IMPORT_COUNTS = _names(lib.kpb_import_count_name)
IMPORT_COUNT_HELP = dict(zip(IMPORT_COUNTS, _names(lib.kpb_import_count_help), strict=True))
IMPORT_FAULTS = IMPORT_COUNTS[: lib.KPB_NR_IMPORT_FAULTS]
IMPORT_ORIGINS = ("auto", "kmem", "kprobe", "level", "csv")
IMPORT_FORMATS = ("unknown", "tracefs", "trace_pipe", "trace-cmd", "perf", "csv")
IMPORT_MAX_FEED = lib.KPB_IMPORT_MAX_FEED
IMPORT_MAX_SOURCES = lib.KPB_IMPORT_MAX_SOURCES


def allocator_linear_map(allocator):
    """The linear map an allocator needs: ``"block"`` or ``"pte"``."""
    return LINEAR_MAPS[lib.kpb_allocator_linear_map(ALLOCATORS.index(allocator))]


def door_defines(compiled):
    """What an allocator file that was compiled for the laboratory defines, by name."""
    out = ffi.new("uint32_t *")
    message = ffi.new("char[]", lib.KPB_MSG_BYTES)
    if lib.kpb_door_defines(os.fsencode(compiled), out, message) < 0:
        raise ConfigError(_text(message))
    return {name: bool(out[0] >> bit & 1) for bit, name in enumerate(_names(lib.kpb_door_name))}


FIT_LIMITS = {
    "classes": lib.KPB_FIT_CLASSES,
    "quantiles": lib.KPB_FIT_QUANTILES,
    "places": lib.KPB_FIT_PLACES,
    "slots": lib.KPB_MAX_SLOTS,
    "cpus": lib.KPB_MAX_CPUS,
}


def generator_params(name):
    """Names and defaults of the parameters of a synthetic workload."""
    kind = GENERATORS.index(name)
    params = {}
    for i in range(lib.KPB_NR_GEN_PARAMS):
        param = lib.kpb_gen_param_name(kind, i)
        if param == ffi.NULL:
            break
        params[_text(param)] = lib.kpb_gen_param_default(kind, i)
    return params


def geometry(page_shift):
    """Facts of one page size as a dict of ints, ``refill_orders`` as a tuple."""
    out = ffi.new("struct kpb_geometry *")
    _check(lib.kpb_geometry(page_shift, out), f"page_shift {page_shift}")
    facts = _fields(out, [name for name, _ in ffi.typeof("struct kpb_geometry").fields])
    facts["refill_orders"] = tuple(facts["refill_orders"][: facts.pop("nr_refill_orders")])
    return facts


def clock_info():
    """Name, ns per tick, floor and quantum (ns) of the clock; takes 20 ms."""
    out = ffi.new("struct kpb_clock_info *")
    _check(lib.kpb_clock_measure(out), "the clock")
    return {
        "clock": _text(out.name),
        "ns_per_tick": out.ns_per_tick,
        "clock_floor_ns": out.floor_ns,
        "clock_quantum_ns": out.quantum_ns,
    }


def compiler():
    """What compiled the extension."""
    return _text(lib.kpb_compiler())


def sources():
    """SHA-256 of the C files that the extension was built from, in hex."""
    return _text(lib.kpb_sources())


def hist_quantiles(hist, quantiles):
    """Quantiles (rising, in (0, 1]) of a ``(HIST_BUCKETS,)`` histogram, in ticks."""
    hist = np.ascontiguousarray(hist, dtype=np.uint64)
    if hist.shape != (HIST_BUCKETS,):
        raise ValueError(f"a histogram has shape ({HIST_BUCKETS},), not {hist.shape}")
    wanted = np.ascontiguousarray(quantiles, dtype=np.float64)
    out = np.empty(len(wanted))
    _check(
        lib.kpb_hist_quantiles(
            ffi.from_buffer("uint64_t[]", hist),
            ffi.from_buffer("double[]", wanted),
            ffi.from_buffer("double[]", out, require_writable=True),
            len(wanted),
        ),
        f"quantiles {quantiles}",
    )
    return out


def hist_bucket_low(index):
    """The smallest number of ticks that falls into a bucket."""
    return lib.kpb_hist_bucket_low(index)


def new_times():
    """Empty service times, one element per path."""
    return np.zeros(len(PATHS), dtype=_TIMES_DTYPE)


def _ops_pointer(ops, *, writable=False):
    if not isinstance(ops, np.ndarray) or ops.dtype != OP_DTYPE or ops.ndim != 1:
        raise ConfigError(
            f"operations must be a one-dimensional array of OP_DTYPE, not {type(ops).__name__}"
            f"{getattr(ops, 'dtype', '')!s}: see kpkeys_bench.workloads.ops"
        )
    if not ops.flags.c_contiguous:
        raise ConfigError("operations must be contiguous: pass numpy.ascontiguousarray(ops)")
    if not ops.flags.aligned or (writable and not ops.flags.writeable):
        raise ConfigError(
            "operations must be aligned, and writable where they are filled: copy them"
        )
    return ffi.from_buffer("struct kpb_op[]", ops, require_writable=writable)


def _whole(name, value, limit):
    """A whole number from 0 to `limit`, as an int."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} {value!r}: give a whole number") from None
    if not 0 <= number <= limit:
        raise ConfigError(f"{name} {number}: give 0 to {limit}")
    return number


def _regions(name, regions, out):
    """Copy ranges of physical memory, in bytes, and say how many there are."""
    if len(regions) > lib.KPB_MAX_REGIONS:
        raise ConfigError(f"{len(regions)} {name}: give at most {lib.KPB_MAX_REGIONS}")
    for i, (base, size) in enumerate(regions):
        out[i].base = _whole(f"{name}: base", base, MAX_U64)
        out[i].size = _whole(f"{name}: size", size, MAX_U64)
    return len(regions)


def _choice(name, value, choices):
    """The index of a name among those that exist."""
    try:
        return choices.index(value)
    except ValueError:
        raise ConfigError(f"{name} {value!r}: give {', '.join(choices)}") from None


def _fill_fault(fault, mode, n=1, seed=0):
    fault.mode = _choice("fault mode", mode, FAULT_MODES)
    fault.n = _whole("fault number", n, MAX_U64)
    fault.seed = _whole("fault seed", seed, MAX_U64)
    if mode != "off" and not n:
        raise ConfigError(f"fault {mode} 0: give 1 or more")


#: Parameters of a background, and the fields that they are in.
_BACKGROUND_FIELDS = {
    "every": "every",
    "resident": "resident_percent",
    "cache": "cache_percent",
    "table": "table_pages",
    "read": "read_pages",
    "slab": "slab_pages",
    "kernel": "kernel_allocs",
    "thp": "thp_allocs",
    "life": "life_ops",
    "burst": "burst_pages",
    "burst_every": "burst_ops",
}


def _fill_background(config, params, seed):
    """Copy the parameters of a background; its seed is the machine's."""
    for name, value in params.items():
        setattr(config, _BACKGROUND_FIELDS[name], _whole(f"background: {name}", value, MAX_U32))
    config.seed = seed


def _fill_boot(boot, params):
    """Copy the options of a boot in phases, which are whole numbers but for two choices."""
    for name, value in params.items():
        if name == "bbml2":
            boot.bbml2 = _choice("bbml2", value, BBML2)
        elif name == "rodata":
            boot.rodata = _choice("rodata", value, RODATA)
        else:
            limit = MAX_U64 if name == "vmalloc_offset_bytes" else MAX_U32
            setattr(boot, name, _whole(f"boot: {name}", value, limit))


def _array_of(name, array, dtype, ctype):
    """A pointer to a whole array, which must be what it is said to be."""
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise ConfigError(f"memory image: {name} must be a contiguous array of {dtype}")
    return ffi.from_buffer(ctype, array)


def _image(image):
    """A struct kpb_image and what must live as long as it is used."""
    out = ffi.new("struct kpb_image *")
    arrays = (
        _array_of("runs", image["runs"], RUN_DTYPE, "struct kpb_run[]"),
        _array_of("places", image["places"], PLACE_DTYPE, "struct kpb_place[]"),
        _array_of("block_types", image["block_types"], np.dtype(np.uint8), "uint8_t[]"),
    )
    out.runs, out.places, out.block_types = arrays
    out.nr_runs = len(image["runs"])
    out.nr_places = len(image["places"])
    out.nr_blocks = len(image["block_types"])
    out.managed_pages = _whole("managed pages", image["managed_pages"], MAX_U64)
    for i, value in enumerate(image["watermarks"]):
        out.watermarks[i] = _whole("watermark", value, MAX_U64)
    for name in ("compact_considered", "compact_defer_shift", "compact_order_failed"):
        setattr(out, name, _whole(name, image[name], MAX_U32))
    return out, arrays


class MachineHandle:
    """Owns one ``struct kpb_machine``; its pointer is None once closed."""

    def __init__(
        self,
        *,
        page_shift,
        ram_bytes,
        phys_base,
        allocator,
        linear_map,
        refill_orders,
        allow_any_orders,
        zero_pages,
        aged_ppm,
        aged_pins,
        aged_seed,
        nr_cpus=0,
        no_pcp=False,
        memcg_limit_pages=0,
        nr_static_pgtables=0,
        holes=(),
        reserved=(),
        memblock_fault=None,
        allocator_file=None,
        variant_param=0,
        boot=None,
        background=None,
        image=None,
    ):
        self._ptr = None
        #: what the machine looks things up in for as long as it lives
        self._keep = _image(image) if image is not None else (ffi.NULL, ())
        config = ffi.new("struct kpb_config *")
        config.page_shift = page_shift
        config.ram_bytes = _whole("ram", ram_bytes, MAX_U64)
        config.phys_base = _whole("phys_base", phys_base, MAX_U64)
        config.allocator = 0 if allocator_file else ALLOCATORS.index(allocator)
        config.linear_map = LINEAR_MAPS.index(linear_map)
        config.nr_refill_orders = len(refill_orders)
        for i, order in enumerate(refill_orders):
            config.refill_orders[i] = _whole("refill order", order, MAX_ORDERS - 1)
        config.allow_any_orders = allow_any_orders
        config.zero_pages = zero_pages
        config.aged_ppm = aged_ppm
        config.aged_pins = _whole("state aged: pins", aged_pins, MAX_U32)
        config.aged_seed = _whole("seed", aged_seed, MAX_U64)
        config.nr_cpus = _whole("cpus", nr_cpus, lib.KPB_MAX_CPUS)
        config.no_pcp = no_pcp
        config.memcg_limit_pages = _whole("memcg limit", memcg_limit_pages, MAX_U64)
        config.nr_static_pgtables = _whole("static page tables", nr_static_pgtables, MAX_U32)
        config.nr_holes = _regions("holes", holes, config.holes)
        config.nr_reserved = _regions("reserved", reserved, config.reserved)
        if memblock_fault is not None:
            _fill_fault(config.memblock_fault, *memblock_fault)
        file = ffi.new("char[]", os.fsencode(allocator_file)) if allocator_file else ffi.NULL
        config.allocator_file = file
        config.variant_param = _whole("variant parameter", variant_param, MAX_U64)
        _fill_boot(config.boot, boot or {})
        if background is not None:
            _fill_background(config.background, background, config.aged_seed)
        config.image = self._keep[0]
        out = ffi.new("struct kpb_machine **")
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        rc = lib.kpb_machine_create(config, out, message)
        if rc < 0 and _text(message):
            raise (ConfigError if rc == -errno.EINVAL else MachineError)(_text(message))
        _check(rc)
        self._ptr = out[0]

    @property
    def ptr(self):
        if self._ptr is None:
            raise MachineError("the machine is closed: create a new one")
        return self._ptr

    def close(self):
        if self._ptr is not None:
            _check(lib.kpb_machine_destroy(self._ptr))
            self._ptr = None

    def __del__(self):
        self.close()

    def _stopped(self):
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        lib.kpb_machine_stopped(self.ptr, message)
        return _text(message)

    def _check(self, rc):
        if rc == -errno.EDEADLK:
            raise MachineError(f"the machine stopped: {self._stopped()}")
        if rc == -errno.EALREADY:
            raise MachineError(
                "boot steps out of order: hardened_init() once, then init_late() once"
            )
        return _check(rc)

    def stopped(self):
        """Why the machine stopped, or an empty string."""
        return self._stopped()

    def init(self):
        self._check(lib.kpb_machine_init(self.ptr))

    def init_late(self):
        self._check(lib.kpb_machine_init_late(self.ptr))

    def boot_phase(self, phase):
        rc = lib.kpb_boot_phase(self.ptr, _choice("phase", phase, PHASES))
        if rc == -errno.EALREADY:
            raise MachineError(
                f"phase {phase} out of order: each of {', '.join(PHASES)} once, in this order, and "
                "none after hardened_init()"
            )
        if rc == -errno.EOPNOTSUPP:
            raise MachineError("null has no pages of its own to boot with: take another allocator")
        self._check(rc)

    def boot_counters(self):
        out = ffi.new("struct kpb_boot_counters *")
        self._check(lib.kpb_machine_boot_counters(self.ptr, out))
        counters = _fields(out, _BOOT_FIELDS)
        counters["ptps"] = {
            phase: {
                cause: {level: out.ptps[i][j][k] for k, level in enumerate(LEVELS)}
                for j, cause in enumerate(BOOT_CAUSES)
            }
            for i, phase in enumerate(PHASES)
        }
        return counters

    def set_slots(self, nr_slots):
        limit = lib.KPB_MAX_SLOTS
        rc = lib.kpb_machine_set_slots(self.ptr, _whole("slots", nr_slots, limit))
        if rc == -errno.EALREADY:
            raise MachineError("a task has not finished: let it go on before there are more slots")
        self._check(rc)

    def replay(self, ops, repeat, mode, every, costs_ps, times):
        pointer = _ops_pointer(ops)
        timing = ffi.new("struct kpb_timing *")
        timing.mode = TIMING_MODES.index(mode)
        timing.every = _whole("a clock read every", every, MAX_U32)
        if mode == "sample" and not every:
            raise ConfigError("a clock read every 0 operations: give 1 or more")
        repeat = _whole("repeat", repeat, MAX_U64)
        for name, value in (costs_ps or {}).items():
            setattr(timing.costs, f"{name}_ps", _whole(f"cost {name}", value, MAX_U64))
        buffer = ffi.NULL
        if times is not None:
            if times.dtype != _TIMES_DTYPE or times.shape != (len(PATHS),):
                raise ConfigError("times must come from new_times()")
            buffer = ffi.from_buffer("struct kpb_path_times[]", times, require_writable=True)
        elif mode != "none":
            raise ConfigError(f"timing {mode!r} needs an array from new_times()")
        failed = ffi.new("uint64_t *")
        rc = lib.kpb_replay(self.ptr, pointer, len(ops), repeat, timing, buffer, failed)
        if rc == -errno.EINVAL:
            op = ops[failed[0] % len(ops)]
            raise MachineError(
                f"operation {failed[0]} {op!s} makes no sense here: slot, kind, level or arg "
                "out of range, or the slot is empty, in use, or holds something else"
            )
        if rc == -errno.EDEADLK:
            raise MachineError(f"the machine stopped at operation {failed[0]}: {self._stopped()}")
        self._check(rc)

    def step(self, op, task, gfp, context, stop_at, stop_nth):
        step = ffi.new("struct kpb_step *")
        for name in OP_DTYPE.names:
            setattr(step.op, name, int(op[name]))
        step.task = _whole("task", task, lib.KPB_MAX_TASKS - 1)
        step.gfp = _whole("gfp", gfp, MAX_U32)
        step.context = _choice("context", context, CONTEXTS)
        step.stop_at = _choice("stop at", stop_at or "none", POINTS)
        step.stop_nth = _whole("stop at: number", stop_nth, MAX_U32)
        out = ffi.new("struct kpb_step_result *")
        rc = lib.kpb_step(self.ptr, step, out)
        if rc == -errno.EINVAL:
            raise MachineError(
                f"operation {op!s} makes no sense here: slot, kind, level or arg out of range, "
                "or the slot is empty, in use, or holds something else"
            )
        if rc == -errno.EALREADY:
            raise MachineError(f"task {task} has not finished what it does: let it go on first")
        return self._step_result(rc, out)

    def resume(self, task, stop_at, stop_nth):
        out = ffi.new("struct kpb_step_result *")
        rc = lib.kpb_continue(
            self.ptr,
            _whole("task", task, lib.KPB_MAX_TASKS - 1),
            _choice("stop at", stop_at or "none", POINTS),
            _whole("stop at: number", stop_nth, MAX_U32),
            out,
        )
        if rc == -errno.EINVAL:
            raise MachineError(f"task {task} does nothing that could go on")
        return self._step_result(rc, out)

    def _step_result(self, rc, out):
        if rc == -errno.EDEADLK:
            raise MachineError(f"the machine stopped: {self._stopped()}")
        self._check(rc)
        return {
            "state": TASK_STATES[out.state],
            "point": POINTS[out.point] if out.point else None,
            "path": PATHS[out.path] if 0 <= out.path < len(PATHS) else None,
            "failed": bool(out.failed),
            "owner": out.owner,
            "lock": _text(out.lock),
        }

    def set_fault(self, point, mode, n, seed, orders, half, pkey):
        fault = ffi.new("struct kpb_fault *")
        _fill_fault(fault, mode, n, seed)
        fault.orders = _whole("fault orders", orders, MAX_U32)
        fault.half = bool(half)
        fault.pkey = operator.index(pkey)
        _choice("fault point", point, FAULT_POINTS)
        self._check(lib.kpb_machine_set_fault(self.ptr, POINTS.index(point), fault))

    def record(self, capacity):
        self._check(lib.kpb_machine_record(self.ptr, _whole("events", capacity, MAX_U32)))

    def events(self):
        return self._array(
            EVENT_DTYPE,
            "struct kpb_event[]",
            lambda o, n: lib.kpb_machine_events(self.ptr, o, n),
        )

    def digest(self):
        out = ffi.new("uint64_t *")
        self._check(lib.kpb_machine_digest(self.ptr, out))
        return out[0]

    def log(self):
        size = lib.KPB_LOG_BYTES
        out = ffi.new("char[]", lib.KPB_LOG_LINES * size)
        nr = self._check(lib.kpb_machine_log(self.ptr, out))
        return [_text(out + i * size) for i in range(nr)]

    def audit(self):
        out = ffi.new("struct kpb_audit *")
        self._check(lib.kpb_machine_audit(self.ptr, out))
        return _fields(out, _AUDIT_FIELDS)

    def counters(self):
        out = ffi.new("struct kpb_counters *")
        self._check(lib.kpb_machine_counters(self.ptr, out))
        return _fields(out, _COUNTER_FIELDS)

    def map_counters(self):
        out = ffi.new("struct kpb_map_counters[]", len(CAUSES))
        self._check(lib.kpb_machine_map_counters(self.ptr, out))
        return {cause: _fields(out[i], _MAP_FIELDS) for i, cause in enumerate(CAUSES)}

    def state(self):
        out = ffi.new("struct kpb_state *")
        self._check(lib.kpb_machine_state(self.ptr, out))
        return _fields(out, _STATE_FIELDS)

    def warnings(self):
        out = ffi.new("struct kpb_warning[]", 64)
        nr = self._check(lib.kpb_machine_warnings(self.ptr, out, len(out)))
        return [
            {
                "file": _text(w.file),
                "line": w.line,
                "what": _text(w.what),
                "count": w.count,
            }
            for w in out[0:nr]
        ]

    def check(self):
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        rc = lib.kpb_machine_check(self.ptr, message)
        if rc == -errno.EUCLEAN:
            raise MachineError(f"invariant broken: {_text(message)}")
        self._check(rc)

    def _array(self, dtype, ctype, call):
        """Ask twice: how many, then all of them."""
        nr = self._check(call(ffi.NULL, 0))
        out = np.zeros(nr, dtype=dtype)
        if nr:
            self._check(call(ffi.from_buffer(ctype, out, require_writable=True), nr))
        return out

    def slot_pfns(self):
        return self._array(
            np.uint64, "uint64_t[]", lambda o, n: lib.kpb_machine_slot_pfns(self.ptr, o, n)
        )

    def cached_pfns(self):
        return self._array(
            np.uint64, "uint64_t[]", lambda o, n: lib.kpb_machine_cached_pfns(self.ptr, o, n)
        )

    def free_pfns(self, order, migratetype):
        return self._array(
            np.uint64,
            "uint64_t[]",
            lambda o, n: lib.kpb_machine_free_pfns(self.ptr, order, migratetype, o, n),
        )

    def pageblock_types(self):
        return self._array(
            np.uint8,
            "uint8_t[]",
            lambda o, n: lib.kpb_machine_pageblock_types(self.ptr, o, n),
        )

    def buddyinfo(self):
        out = np.zeros((MAX_ORDERS, MIGRATE_TYPES), dtype=np.uint64)
        pointer = ffi.from_buffer("uint64_t[]", out, require_writable=True)
        self._check(lib.kpb_machine_buddyinfo(self.ptr, pointer))
        return out

    def image(self):
        """Memory as it is, as the constructor takes it."""
        info = ffi.new("struct kpb_image *")
        try:
            runs = self._array(
                RUN_DTYPE, "struct kpb_run[]", lambda o, n: lib.kpb_machine_runs(self.ptr, o, n)
            )
        except MachineBusyError:
            raise MachineError(
                "a task is under way, or another thread is inside: let it finish before saving"
            ) from None
        except MachineError as error:
            self.check()
            raise error from None
        self._check(lib.kpb_machine_image(self.ptr, info))
        return {
            "runs": runs,
            "places": self._array(
                PLACE_DTYPE,
                "struct kpb_place[]",
                lambda o, n: lib.kpb_machine_places(self.ptr, o, n),
            ),
            "block_types": self.pageblock_types(),
            "managed_pages": info.managed_pages,
            "watermarks": tuple(info.watermarks),
            "compact_considered": info.compact_considered,
            "compact_defer_shift": info.compact_defer_shift,
            "compact_order_failed": info.compact_order_failed,
        }

    def pkeys(self, pfns):
        pfns = np.ascontiguousarray(pfns, dtype=np.uint64)
        out = np.zeros(len(pfns), dtype=np.uint8)
        if len(pfns):
            self._check(
                lib.kpb_machine_pkeys(
                    self.ptr,
                    ffi.from_buffer("uint64_t[]", pfns),
                    ffi.from_buffer("uint8_t[]", out, require_writable=True),
                    len(pfns),
                )
            )
        return out


class FittedHandle:
    """Owns one ``struct kpb_fitted``; its pointer is None once closed."""

    def __init__(self, name, model, seed):
        """`model`: a dict of the fields of ``struct kpb_fit``, checked in C."""
        self._ptr = None
        try:
            fit = ffi.new("struct kpb_fit *", model)
        except (IndexError, KeyError, OverflowError, TypeError) as error:
            raise ConfigError(f"{name}: no model of a fitted workload: {error}") from None
        out = ffi.new("struct kpb_fitted **")
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        rc = lib.kpb_fitted_create(fit, _whole("seed", seed, MAX_U64), out, message)
        if rc < 0 and _text(message):
            raise ConfigError(f"{name}: {_text(message)}")
        _check(rc, name)
        self._ptr = out[0]

    @property
    def ptr(self):
        if self._ptr is None:
            raise KpbError("the generator is closed: create a new one")
        return self._ptr

    def close(self):
        if self._ptr is not None:
            pointer, self._ptr = self._ptr, None
            lib.kpb_fitted_destroy(pointer)

    def __del__(self):
        self.close()

    def fill(self, ops):
        """Overwrite a whole array with the next operations."""
        _check(
            lib.kpb_fitted_fill(self.ptr, _ops_pointer(ops, writable=True), len(ops)),
            "generator",
        )

    def nr_cut(self):
        """Births and growth that a lack of slots cut short so far."""
        return lib.kpb_fitted_nr_cut(self.ptr)


class GeneratorHandle:
    """Owns one ``struct kpb_gen``; its pointer is None once closed."""

    def __init__(self, name, params, seed):
        self._ptr = None
        out = ffi.new("struct kpb_gen **")
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        values = [_whole(f"{name}: parameter", value, MAX_U64) for value in params]
        values += [0] * (lib.KPB_NR_GEN_PARAMS - len(params))
        seed = _whole("seed", seed, MAX_U64)
        rc = lib.kpb_gen_create(GENERATORS.index(name), values, seed, out, message)
        if rc < 0 and _text(message):
            raise ConfigError(_text(message))
        _check(rc, name)
        self._ptr = out[0]

    @property
    def ptr(self):
        if self._ptr is None:
            raise KpbError("the generator is closed: create a new one")
        return self._ptr

    def close(self):
        if self._ptr is not None:
            pointer, self._ptr = self._ptr, None
            lib.kpb_gen_destroy(pointer)

    def __del__(self):
        self.close()

    def nr_slots(self):
        return lib.kpb_gen_nr_slots(self.ptr)

    def fill(self, ops):
        """Overwrite a whole array with the next operations."""
        _check(
            lib.kpb_gen_fill(self.ptr, _ops_pointer(ops, writable=True), len(ops)),
            "generator",
        )


if (
    len(IMPORT_ORIGINS) != lib.KPB_NR_IMPORT_ORIGINS
    or len(IMPORT_FORMATS) != lib.KPB_NR_IMPORT_FORMATS
):
    raise ImportError("kpb_api.cdef.h and _ffi.py differ: rebuild the extension")


class ImportHandle:
    """Owns one ``struct kpb_import``; its pointer is None once closed."""

    def __init__(self, *, max_ops, origin, item, vmemmap, nr_sources):
        self._ptr = None
        out = ffi.new("struct kpb_import **")
        message = ffi.new("char[]", lib.KPB_MSG_BYTES)
        options = ffi.new("struct kpb_import_options *")
        options.max_ops = _whole("max_ops", max_ops, MAX_U64)
        options.vmemmap = _whole("vmemmap", vmemmap, MAX_U64)
        options.item = -1 if item is None else _whole("item", item, MAX_U32 >> 1)
        options.origin = IMPORT_ORIGINS.index(origin)
        options.nr_sources = _whole("files", nr_sources, MAX_U32)
        rc = lib.kpb_import_create(options, out, message)
        if rc < 0 and _text(message):
            raise ConfigError(_text(message))
        _check(rc, "import")
        self._ptr = out[0]

    @property
    def ptr(self):
        if self._ptr is None:
            raise KpbError("the import is closed: create a new one")
        return self._ptr

    def close(self):
        if self._ptr is not None:
            pointer, self._ptr = self._ptr, None
            lib.kpb_import_destroy(pointer)

    def __del__(self):
        self.close()

    def _refused(self, rc):
        """None, or (file, line, message) of a refusal; line 0 is no line in particular."""
        if rc < 0 and (message := _text(lib.kpb_import_message(self.ptr))):
            state = ffi.new("struct kpb_import_state *")
            lib.kpb_import_state(self.ptr, state)
            return state.file, state.line, message
        _check(rc, "import")
        return None

    def begin(self, source):
        return self._refused(lib.kpb_import_begin(self.ptr, source))

    def feed(self, source, data):
        """Take bytes, at most `IMPORT_MAX_FEED`; a refusal or None."""
        return self._refused(
            lib.kpb_import_feed(self.ptr, source, ffi.from_buffer("char[]", data), len(data))
        )

    def end(self, source):
        return self._refused(lib.kpb_import_end(self.ptr, source))

    def next(self):
        """The source to feed next, or -1."""
        return lib.kpb_import_next(self.ptr)

    def finish(self):
        return self._refused(lib.kpb_import_finish(self.ptr))

    def state(self):
        """Numbers so far as a dict; ``count`` and ``first`` (file, line) by name."""
        out = ffi.new("struct kpb_import_state *")
        _check(lib.kpb_import_state(self.ptr, out), "import")
        return {
            "nr_ops": out.nr_ops,
            "nr_pre": out.nr_pre,
            "bytes": out.bytes,
            "item": out.item,
            "format": IMPORT_FORMATS[out.format],
            "origin": IMPORT_ORIGINS[out.origin],
            "count": {name: out.count[i] for i, name in enumerate(IMPORT_COUNTS)},
            "first": {
                name: (out.first_file[i], out.first_line[i])
                for i, name in enumerate(IMPORT_COUNTS)
                if out.first_line[i]
            },
        }

    def take(self):
        """Times and operations, prologue first."""
        nr = self.state()["nr_ops"]
        ts_ns, ops = np.empty(nr, np.int64), np.empty(nr, OP_DTYPE)
        _check(
            lib.kpb_import_take(
                self.ptr,
                ffi.from_buffer("int64_t[]", ts_ns, require_writable=True),
                _ops_pointer(ops, writable=True),
                nr,
            ),
            "import",
        )
        return ts_ns, ops


def renumber(ops, nr_slots):
    """Give operations that can be replayed the lowest free slots, in place."""
    _check(
        lib.kpb_import_renumber(
            _ops_pointer(ops, writable=True), len(ops), _whole("nr_slots", nr_slots, MAX_U32)
        ),
        "renumbering",
    )
