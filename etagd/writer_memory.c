/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table's memory: two memfds that can neither grow nor shrink, wholly allocated before anybody
 * maps them, so that no access in any process can raise SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "etagd/writer_private.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define BYTES_MIN (UINT64_C(4) << 20)
#define BYTES_MAX (UINT64_C(32) << 30) /* offsets are 32 bits of 8-byte words */
#define DICT_MAX (UINT64_C(4) << 20)
#define CELL_BITS 20u
#define RECORD_TYPICAL 96u /* bytes: five scopes and a 16-byte tag */
#define LOAD_PERCENT 80u /* of the index, when the rings are full of typical records */

struct layout {
    uint64_t summary, cells, index, dict, ring, total; /* offsets, and the end */
    uint64_t ring_words, small_words;
    uint32_t nbuckets, dict_words;
    unsigned cell_bits;
};

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static bool layout_of(struct layout *l, const struct writer_size *size, const char **why)
{
    const uint64_t dict_wish = size->dict_bytes ? size->dict_bytes : size->bytes / 16;
    const uint64_t dict_bytes = dict_wish < DICT_MAX ? round_up(dict_wish, 64) : DICT_MAX;

    if (size->bytes < BYTES_MIN || size->bytes > BYTES_MAX) {
        *why = "the table's size must be between 4 MiB and 32 GiB (TableSize)";
        return false;
    }
    l->cell_bits = size->log2_cells ? size->log2_cells : CELL_BITS;
    while (!size->log2_cells && UINT64_C(8) << l->cell_bits > size->bytes / 4)
        l->cell_bits--;
    if (l->cell_bits < TABLE_CELL_BITS_MIN || l->cell_bits > TABLE_CELL_BITS_MAX ||
        UINT64_C(8) << l->cell_bits > size->bytes / 2) {
        *why = "the scope cells take more than half of the table: raise TableSize";
        return false;
    }
    l->summary = TABLE_PAGE;
    l->cells = l->summary + round_up(table_summary_words(l->cell_bits) * 8, 64);
    l->index = l->cells + (UINT64_C(8) << l->cell_bits);

    /* What is left is index and rings: a bucket of 64 bytes for as many typical records as its load. */
    const uint64_t left = size->bytes - l->index - dict_bytes;
    const uint64_t per_bucket = TABLE_SLOTS * LOAD_PERCENT * RECORD_TYPICAL / 100;
    const uint64_t chunks = left * per_bucket / (per_bucket + 64) / (RING_CHUNK * 8);
    l->ring_words = chunks * RING_CHUNK;
    l->small_words = (chunks / 10 > RING_CHUNKS_MIN ? chunks / 10 : RING_CHUNKS_MIN) * RING_CHUNK;
    if (chunks < 3 * RING_CHUNKS_MIN) {
        *why = "too little is left for records: raise TableSize";
        return false;
    }
    l->nbuckets = (uint32_t)((left - l->ring_words * 8) / 64);
    l->dict = l->index + (uint64_t)l->nbuckets * 64;
    l->dict_words = (uint32_t)(dict_bytes / 8);
    l->ring = l->dict + dict_bytes;
    l->total = l->ring + l->ring_words * 8;
    return true;
}

/* Refusing now is better than having the kernel kill httpd later. Unknown: allowed. */
static bool memory_available(uint64_t bytes)
{
    unsigned long long kib = 0;
    bool known = false;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && !known && fgets(line, sizeof line, f))
        known = sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
    if (f)
        fclose(f);
    return !known || bytes <= kib * UINT64_C(1024) / 4 * 3;
}

/* A memfd without a page that could be missing later; mapped for writing. */
static int sealed_memfd(const char *name, uint64_t bytes, mode_t mode, void **map, const char **why)
{
    int refused, fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    *map = MAP_FAILED;
    if (fd < 0 && errno == EINVAL) /* kernels before 6.3 */
        fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd < 0) {
        *why = "memfd_create was refused (vm.memfd_noexec, descriptors, or a seccomp filter?)";
        return -1;
    }
    *why = "the table cannot be sized or mapped (RLIMIT_FSIZE, RLIMIT_AS?)";
    if (ftruncate(fd, (off_t)bytes) != 0)
        goto fail;
    *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*map == MAP_FAILED)
        goto fail;
    /* Huge pages come only from faults under this advice; fallocate then takes what is missing. */
    madvise(*map, bytes, MADV_HUGEPAGE);
    madvise(*map, bytes, MADV_POPULATE_WRITE);
    do
        refused = posix_fallocate(fd, 0, (off_t)bytes);
    while (refused == EINTR);
    if (refused) {
        *why = "not enough memory for the table: lower TableSize or raise the service's memory limit";
        goto fail;
    }
    mlock(*map, bytes); /* best effort: a page swapped out would stall a request */
    /* The mode decides whether a client may open its descriptor again for writing. */
    if (fchmod(fd, mode) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        *why = "the table's memory cannot be sealed";
        goto fail;
    }
    return fd;
fail:
    if (*map != MAP_FAILED)
        munmap(*map, bytes);
    *map = MAP_FAILED;
    close(fd);
    return -1;
}

static int reopen_read_only(int fd)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool identity_create(struct table_header *h)
{
    do
        if (getrandom(&h->generation, sizeof h->generation, 0) != (ssize_t)sizeof h->generation)
            return false;
    while (h->generation == 0);
    return getrandom(h->sipkey, sizeof h->sipkey, 0) == (ssize_t)sizeof h->sipkey;
}

static void header_fill(struct table_header *h, const struct layout *l)
{
    h->magic = TABLE_MAGIC;
    h->major = TABLE_MAJOR;
    h->total = l->total;
    h->off_summary = l->summary;
    h->off_cells = l->cells;
    h->off_index = l->index;
    h->off_dict = l->dict;
    h->off_ring = l->ring;
    h->nbuckets = l->nbuckets;
    h->log2_cells = l->cell_bits;
    h->ring_units = (uint32_t)l->ring_words;
    h->dict_units = l->dict_words;
    h->small_units = (uint32_t)l->small_words;
    h->birth_ms = table_now_ms();
    h->checksum = XXH3_64bits(h, offsetof(struct table_header, checksum)) ^ h->small_units;
}

static void sections_point(struct writer *w, const struct layout *l)
{
    w->header = (struct table_header *)w->base;
    w->summary = (table_word *)(w->base + l->summary);
    w->cell = (table_word *)(w->base + l->cells);
    w->index = (table_word *)(w->base + l->index);
    w->dict_words = (table_word *)(w->base + l->dict);
    w->ring_words = (table_word *)(w->base + l->ring);
    w->nbuckets = l->nbuckets;
    w->dict_size = l->dict_words;
    w->ring[RING_SMALL] = (struct ring){.base = 0, .words = (uint32_t)l->small_words, .limit = RING_CHUNK};
    w->ring[RING_MAIN] = (struct ring){
        .base = (uint32_t)l->small_words, .words = (uint32_t)(l->ring_words - l->small_words), .limit = RING_CHUNK};
}

/* Nobody else has the memory yet: order does not matter. */
static void control_words_fill(struct writer *w, unsigned cell_bits)
{
    struct table_header *h = w->header;

    w->generation = h->generation;
    w->birth_ms = h->birth_ms;
    w->salt = table_salt(h->generation);
    w->cells = (struct table_cells){.cell = w->cell, .summary = w->summary, .salt = w->salt, .bits = cell_bits};
    for (uint64_t i = 0; i < UINT64_C(1) << cell_bits; i++)
        table_write(&w->cell[i], table_salt_cell(w->salt, i), 0);
    for (uint64_t i = 0; i < table_summary_words(cell_bits); i++)
        table_write(&w->summary[i], table_salt_summary(w->salt, i), 0);
    w->dict_used = 1; /* unit 0 means none */
    table_write(&h->dict_used, table_salt_field(w->salt, TABLE_FIELD_DICT), w->dict_used);
    table_write(&h->flush, table_salt_field(w->salt, TABLE_FIELD_FLUSH), 0);
    table_write(&h->seq, table_salt_field(w->salt, TABLE_FIELD_SEQ), 0);
    table_write(&h->lease_ms, table_salt_field(w->salt, TABLE_FIELD_LEASE), 0);
    table_write(&h->state, table_salt_field(w->salt, TABLE_FIELD_STATE), TABLE_STATE_LIVE);
}

bool memory_create(struct writer *w, const struct writer_size *size, const char **why)
{
    struct layout l;
    void *base = MAP_FAILED, *touch = MAP_FAILED;

    w->table_fd = w->touch_fd = -1;
    if (!layout_of(&l, size, why))
        return false;
    if (!memory_available(l.total)) {
        *why = "TableSize is more than three quarters of the memory available: lower it";
        return false;
    }
    const int fd = sealed_memfd("etagd-table", l.total, 0440, &base, why);
    if (fd < 0)
        return false;
    w->base = base;
    w->bytes = l.total;
    w->table_fd = reopen_read_only(fd);
    close(fd); /* the mapping stays; no descriptor for writing is left to leak */
    if (w->table_fd < 0) {
        *why = "/proc/self/fd cannot be opened: is /proc mounted?";
        return false;
    }
    w->touch_fd = sealed_memfd("etagd-touch", l.nbuckets, 0600, &touch, why);
    if (w->touch_fd < 0)
        return false;
    w->touch = touch;
    w->touch_bytes = l.nbuckets;
    sections_point(w, &l);
    if (!identity_create(w->header)) {
        *why = "no random bytes from the kernel";
        return false;
    }
    header_fill(w->header, &l);
    control_words_fill(w, l.cell_bits);
    return true;
}

void memory_give_back(struct writer *w)
{
    munlock(w->base, w->bytes); /* locked pages cannot be removed */
    madvise(w->base + TABLE_PAGE, round_up(w->bytes, TABLE_PAGE) - TABLE_PAGE, MADV_REMOVE);
}

void memory_close(struct writer *w)
{
    if (w->touch)
        munmap(w->touch, w->touch_bytes);
    if (w->base)
        munmap(w->base, w->bytes);
    if (w->touch_fd >= 0)
        close(w->touch_fd);
    if (w->table_fd >= 0)
        close(w->table_fd);
}
