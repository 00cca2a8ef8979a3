/* SPDX-License-Identifier: GPL-2.0-only */
/* Types and helpers that every mirror uses; namesake of linux/kernel.h. */
#ifndef _LINUX_KERNEL_H
#define _LINUX_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* DUPLICATED */
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 phys_addr_t;

/* DUPLICATED */
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#ifndef __maybe_unused
#define __maybe_unused __attribute__((__unused__))
#endif
#undef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#define noinline __attribute__((__noinline__))
#define __always_unused __maybe_unused
#define __packed __attribute__((__packed__))
#define __aligned(x) __attribute__((__aligned__(x)))
#define __printf(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define fallthrough __attribute__((__fallthrough__))
#define __cold __attribute__((__cold__, __noinline__))

/* DUPLICATED, without the kernel's type checks */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN(x, a) ALIGN_DOWN((x) + ((__typeof__(x))(a) - 1), a)
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#undef static_assert
#define static_assert(expr, ...) _Static_assert(expr, #expr)
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK_ULL(h, l) ((~0ULL >> (63 - (h))) & (~0ULL << (l)))

#define round_down(x, y) ALIGN_DOWN(x, y)
#define round_up(x, y) ALIGN(x, y)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))

/* each argument is evaluated once; the names differ so that calls may nest */
#define kpb_pick3(x, y, ux, uy, op)   \
	({                            \
		__auto_type ux = (x); \
		__auto_type uy = (y); \
		ux op uy ? ux : uy;   \
	})
#define kpb_pick2(x, y, op, n) kpb_pick3(x, y, kpb_x##n, kpb_y##n, op)
#define kpb_pick(x, y, op, n) kpb_pick2(x, y, op, n)
#define min(a, b) kpb_pick(a, b, <, __COUNTER__)
#define max(a, b) kpb_pick(a, b, >, __COUNTER__)
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define clamp(x, lo, hi) min(max(x, lo), hi)
#define clamp_t(type, x, lo, hi) min_t(type, max_t(type, x, lo), hi)

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* DUPLICATED: a simulated box runs on one host thread at a time */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, val) (*(volatile __typeof__(x) *)&(x) = (val))

/* DUPLICATED: the number of the lowest set bit; undefined for 0 */
static inline unsigned long __ffs(unsigned long word)
{
	return (unsigned long)__builtin_ctzl(word);
}

/*
 * CUSTOM: the mirrors are compiled once for each page size into one
 * extension. Their headers declare what the kernel makes global with this,
 * so that the definition, which reads as in the kernel, stays local to the
 * translation unit of its page size.
 */
#ifdef KPB_DOOR
/*
 * CUSTOM: in an allocator file of its own these names are the laboratory's;
 * door/door.c leads them there.
 */
#define KPB_LOCAL extern
#else
#define KPB_LOCAL static
#endif

#include <linux/bug.h>
#include <linux/printk.h>

#endif
