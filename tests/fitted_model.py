# SPDX-License-Identifier: GPL-2.0-only
"""A slow, obvious generator of fitted workloads: the oracle of csrc/lab/fitted.c.

Written from its description: a heap instead of a radix heap, lists instead of links, one operation
at a time. Only the random numbers and the order in which they are drawn are the same.
"""

import heapq
from dataclasses import dataclass, field

MASK64 = (1 << 64) - 1
MASK32 = (1 << 32) - 1
WALK_TABLES, WALK_LIFE = 0xC13FA9A9, 0x91E10DA5
PARTS = 16


class Rng:
    """splitmix64, of which the first number is dropped."""

    def __init__(self, seed):
        self.state = seed
        self.next()

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        return z ^ (z >> 31)

    def draw(self):
        return self.next() >> 32

    def below(self, n):
        return (self.draw() * n) >> 32


def quantile(table, u):
    """Between the quantiles around u / 2**32, with 20 bits of precision."""
    at = u * PARTS
    low, high = table[at >> 32], table[(at >> 32) + 1]
    return low + ((high - low) * ((at & MASK32) >> 12) >> 20)


@dataclass
class Group:
    cls: int
    birth: int
    life: int
    wanted: int
    alloc_cpu: int
    free_cpu: int
    tables: list = field(default_factory=list)  # (slot, level), the oldest first
    frees: bool = False


class Slow:
    """Yields (kind, slot, level, cpu); 0 allocates."""

    def __init__(self, fit, seed):
        self.fit, self.rng = fit, Rng(seed)
        self.classes = fit["classes"]
        self.events, self.nr_events = [], 0
        self.free_slots, self.fresh, self.live = [], 0, 0
        self.cut = 0
        self.round_ops_4k = sum(
            c["weight"] * (a + b)
            for c in self.classes
            for a, b in zip(c["tables_256"], c["tables_256"][1:], strict=False)
        )
        self.walk, self.births, self.apart = [], [], []
        self.now = max(c["life_ops"][-1] for c in self.classes)
        for c in self.classes:
            self.walk.append([self.rng.draw(), self.rng.draw()])
            self.apart.append((self.round_ops_4k << 4) // c["weight"] if c["weight"] else None)
        for c, apart in zip(self.classes, self.apart, strict=True):
            begin = (self.now - c["life_ops"][-1]) << 16
            self.births.append(begin + self.rng.next() % apart if apart else None)

    def next_life(self, cls):
        self.walk[cls][1] = (self.walk[cls][1] + WALK_LIFE) & MASK32
        return quantile(self.classes[cls]["life_ops"], self.walk[cls][1])

    def begin(self, cls, birth, life):
        draw = self.rng.next()
        cpus = self.fit["nr_cpus"]
        cpu = (draw >> 32) * cpus >> 32
        crosses = (draw >> 8 & 0xFFFF) < self.classes[cls]["cross_cpu_64k"]
        self.walk[cls][0] = (self.walk[cls][0] + WALK_TABLES) & MASK32
        size = quantile(self.classes[cls]["tables_256"], self.walk[cls][0])
        wanted = (size + (draw & 255)) >> 8
        return Group(cls, birth, life, wanted, cpu, (cpu + crosses) % cpus)

    def next_birth(self, cls):
        begin, apart, draw = self.births[cls], self.apart[cls], self.rng.draw()
        draw = draw * self.classes[cls]["jitter_64k"] >> 16
        self.births[cls] += apart
        if apart <= MASK32:
            return (begin + (apart * draw >> 32)) >> 16
        return (begin + (apart >> 32) * draw) >> 16

    def add(self, group, due):
        heapq.heappush(self.events, (max(due, self.now), self.nr_events, group))
        self.nr_events += 1

    def full(self):
        return self.live == self.fit["nr_slots"]

    def allocate(self, group):
        """One burst of a group's tables."""
        c = self.classes[group.cls]
        until = self.now + group.life // 16
        while True:
            draw = self.rng.next()
            done = len(group.tables)
            place = done * (MASK32 // group.wanted) >> 29
            weights = c["level_weight"][place]
            level = sum(
                (draw & 0xFFFF) >= sum(weights[:n]) * 65536 // sum(weights) for n in (1, 2, 3)
            )
            slot = self.free_slots.pop() if self.free_slots else self.fresh
            self.fresh += slot == self.fresh
            self.live += 1
            group.tables.append((slot, level))
            yield 0, slot, level, group.alloc_cpu
            done += 1
            if done == group.wanted:
                group.frees = True
                self.add(group, group.birth + group.life)
                return
            step = MASK32 // (group.wanted - 1)
            at = (done - 1) * step + ((draw >> 32) * step >> 32)
            due = group.birth + (group.life * quantile(c["born_64k"], at) >> 16)
            if due > until or self.full():
                self.add(group, due + group.life // 16)
                return

    def __iter__(self):
        yield from self.begin_in_the_middle()
        while True:
            self.now, _, what = heapq.heappop(self.events)
            if isinstance(what, int):
                self.add(what, self.next_birth(what))
                if self.full():
                    self.cut += 1
                else:
                    yield from self.allocate(self.begin(what, self.now, self.next_life(what)))
            elif what.frees:
                for slot, level in what.tables:
                    self.free_slots.append(slot)
                    self.live -= 1
                    yield 1, slot, level, what.free_cpu
            elif self.full():
                self.cut += 1
                what.frees = True
                what.wanted = len(what.tables)
                self.add(what, what.birth + what.life)
            else:
                yield from self.allocate(what)

    def begin_in_the_middle(self):
        waiting = set()
        while not self.full():
            past = [
                (birth, cls)
                for cls, birth in enumerate(self.births)
                if birth is not None and birth < self.now << 16
            ]
            if not past:
                break
            cls = min(past)[1]
            birth = self.next_birth(cls)
            if birth >= self.now:
                self.add(cls, birth)
                waiting.add(cls)
                continue
            life = self.next_life(cls)
            if birth + life > self.now:
                yield from self.allocate(self.begin(cls, birth, life))
        for cls, birth in enumerate(self.births):
            if birth is not None and cls not in waiting:
                self.births[cls] = max(birth, self.now << 16)
                self.add(cls, self.next_birth(cls))
