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
MAX_U32 = (1 << 32) - 1
MAX_U64 = (1 << 64) - 1
MAX_ORDERS = lib.KPB_MAX_ORDERS
MAX_REFILL_ORDERS = lib.KPB_MAX_REFILL_ORDERS
MIGRATE_TYPES = lib.KPB_MIGRATE_TYPES
HIST_BUCKETS = lib.KPB_HIST_BUCKETS

if len(PATHS) != lib.KPB_NR_PATHS or len(CAUSES) != lib.KPB_NR_CAUSES:
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

_COUNTER_FIELDS = [name for name, _ in ffi.typeof("struct kpb_counters").fields]
_MAP_FIELDS = [name for name, _ in ffi.typeof("struct kpb_map_counters").fields]
COSTS = tuple(name.removesuffix("_ps") for name, _ in ffi.typeof("struct kpb_costs").fields)
_STATE_FIELDS = [name for name, _ in ffi.typeof("struct kpb_state").fields]


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
GENERATORS = _names(lib.kpb_gen_name)
GENERATOR_HELP = dict(zip(GENERATORS, _names(lib.kpb_gen_help), strict=True))


def allocator_linear_map(allocator):
    """The linear map an allocator needs: ``"block"`` or ``"pte"``."""
    return LINEAR_MAPS[lib.kpb_allocator_linear_map(ALLOCATORS.index(allocator))]


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
    ):
        self._ptr = None
        config = ffi.new("struct kpb_config *")
        config.page_shift = page_shift
        config.ram_bytes = _whole("ram", ram_bytes, MAX_U64)
        config.phys_base = _whole("phys_base", phys_base, MAX_U64)
        config.allocator = ALLOCATORS.index(allocator)
        config.linear_map = LINEAR_MAPS.index(linear_map)
        config.nr_refill_orders = len(refill_orders)
        for i, order in enumerate(refill_orders):
            config.refill_orders[i] = _whole("refill order", order, MAX_ORDERS - 1)
        config.allow_any_orders = allow_any_orders
        config.zero_pages = zero_pages
        config.aged_ppm = aged_ppm
        config.aged_pins = _whole("state aged: pins", aged_pins, MAX_U32)
        config.aged_seed = _whole("seed", aged_seed, MAX_U64)
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

    def set_slots(self, nr_slots):
        limit = lib.KPB_MAX_SLOTS
        self._check(lib.kpb_machine_set_slots(self.ptr, _whole("slots", nr_slots, limit)))

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
