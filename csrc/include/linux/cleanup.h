/* SPDX-License-Identifier: GPL-2.0-only */
/* What is undone at the end of a scope; namesake of linux/cleanup.h. */
#ifndef _LINUX_CLEANUP_H
#define _LINUX_CLEANUP_H

/*
 * DUPLICATED in meaning: guard(class)(arg) holds until the end of the scope it
 * stands in, scoped_guard(class, arg) for the statement that follows.
 */
#define DEFINE_GUARD(_class, _type, _enter, _exit)                      \
	typedef _type kpb_guard_##_class##_t;                           \
	static inline kpb_guard_##_class##_t kpb_guard_##_class##_lock( \
		_type _T)                                               \
	{                                                               \
		_enter;                                                 \
		return _T;                                              \
	}                                                               \
	static inline void kpb_guard_##_class##_unlock(                 \
		const kpb_guard_##_class##_t *kpb_guarded)              \
	{                                                               \
		_type _T = *kpb_guarded;                                \
                                                                        \
		if (_T)                                                 \
			_exit;                                          \
	}

#define KPB_GUARD_NAME2(line) kpb_guard_at_##line
#define KPB_GUARD_NAME(line) KPB_GUARD_NAME2(line)

#define KPB_GUARD_VAR(_class, _name)                                        \
	kpb_guard_##_class##_t _name                                        \
		__attribute__((__unused__,                                  \
			       __cleanup__(kpb_guard_##_class##_unlock))) = \
			kpb_guard_##_class##_lock

#define guard(_class) KPB_GUARD_VAR(_class, KPB_GUARD_NAME(__LINE__))

#define scoped_guard(_class, ...)                           \
	for (KPB_GUARD_VAR(_class, kpb_scope)(__VA_ARGS__), \
	     *kpb_scope_done = NULL;                        \
	     !kpb_scope_done; kpb_scope_done = &kpb_scope)

#endif
