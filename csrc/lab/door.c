// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads an allocator file that was compiled for the laboratory. Its state is
 * file-static, so every machine gets a copy of the code that nobody else has:
 * the loader tells files apart by device and inode, and an anonymous copy in
 * memory is a file of its own.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "border.h"
#include "door.h"

/*
 * The loader also tells files apart by the name they were opened with, which
 * is that of a descriptor: it stays open as long as the code is loaded, so
 * that no other copy gets the same number.
 */
struct kpb_opened_door {
	void *handle;
	int copy;
};

static int kpb_door_copy(int from, int to)
{
	char buf[65536];
	ssize_t got;

	while ((got = read(from, buf, sizeof(buf))) > 0) {
		char *p = buf;

		while (got > 0) {
			ssize_t put = write(to, p, (size_t)got);

			if (put < 0)
				return -errno;
			p += put;
			got -= put;
		}
	}
	return got < 0 ? -errno : 0;
}

/**
 * kpb_door_open() - a private copy of a compiled allocator file
 * @file: shared object that the door's own code is linked into
 * @page_shift: what it must have been compiled for
 * @machine_bytes: sizeof(struct kpb_machine), ditto; 0: do not look at either
 * @door: result; kpb_door_close() gives it back
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Return: what the file offers, or NULL with @msg filled.
 */
const struct kpb_door *kpb_door_open(const char *file, uint32_t page_shift,
				     size_t machine_bytes, void **door,
				     char *msg)
{
	int from, copy = -1, ret;
	const struct kpb_door *(*entry)(void) = NULL;
	const struct kpb_door *offer = NULL;
	struct kpb_opened_door *opened;
	char path[64];
	void *sym;

	*door = NULL;
	opened = calloc(1, sizeof(*opened));
	if (!opened) {
		snprintf(msg, KPB_MSG_BYTES, "%s: out of memory", file);
		return NULL;
	}
	from = open(file, O_RDONLY | O_CLOEXEC);
	if (from >= 0)
		copy = memfd_create("kpb_allocator", MFD_CLOEXEC);
	if (from < 0 || copy < 0) {
		snprintf(msg, KPB_MSG_BYTES, "%s: %s", file, strerror(errno));
		goto out_close;
	}
	ret = kpb_door_copy(from, copy);
	if (ret) {
		snprintf(msg, KPB_MSG_BYTES, "%s: cannot copy it: %s", file,
			 strerror(-ret));
		goto out_close;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	opened->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!opened->handle) {
		snprintf(msg, KPB_MSG_BYTES, "%s: %s", file, dlerror());
		goto out_close;
	}
	sym = dlsym(opened->handle, KPB_DOOR_ENTRY);
	memcpy(&entry, &sym, sizeof(entry));
	offer = entry ? entry() : NULL;
	if (!offer || offer->magic != KPB_DOOR_MAGIC ||
	    (machine_bytes && (offer->page_shift != page_shift ||
			       offer->machine_bytes != machine_bytes))) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: was not compiled for this laboratory and page size; compile it again",
			 file);
		offer = NULL;
	}
out_close:
	if (from >= 0)
		close(from);
	opened->copy = copy;
	if (offer)
		*door = opened;
	else
		kpb_door_close(opened);
	return offer;
}

void kpb_door_close(void *door)
{
	struct kpb_opened_door *opened = door;

	if (!opened)
		return;
	if (opened->handle)
		dlclose(opened->handle);
	if (opened->copy >= 0)
		close(opened->copy);
	free(opened);
}

/* In the order of the bits of kpb_door::defines. */
static const char *const kpb_door_names[] = {
#define KPB_DOOR_NAME(name) #name,
	KPB_DOOR_FUNCTIONS(KPB_DOOR_NAME)
#undef KPB_DOOR_NAME
};

const char *kpb_door_name(uint32_t bit)
{
	return bit < sizeof(kpb_door_names) / sizeof(kpb_door_names[0]) ?
		       kpb_door_names[bit] :
		       NULL;
}

int kpb_door_defines(const char *file, uint32_t *out, char *msg)
{
	const struct kpb_door *offer;
	void *door;

	offer = kpb_door_open(file, 0, 0, &door, msg);
	if (!offer)
		return -ENOEXEC;
	*out = offer->defines;
	kpb_door_close(door);
	return 0;
}
