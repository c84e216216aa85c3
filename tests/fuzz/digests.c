/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state file of file digests. Checksums would hide everything behind them: bits of the first byte say
 * which of them, and the boot id and the count, are made right.
 */
#include "etagd/digest_file.h"
#include "tests/fuzz/target.h"
#include "tests/unit/digest_bytes.h"

enum { BOOT = 1, COUNT = 2, RECORDS = 4, HEAD = 8, FOOT = 16 };

static void mend(uint8_t *file, size_t size, unsigned what)
{
    const char *boot = file_identity_boot();

    if (size < HEAD_SIZE + FOOT_SIZE)
        return;
    if (what & BOOT && boot)
        memcpy(file + AT_BOOT, boot, FILE_IDENTITY_BOOT_SIZE);
    if (what & COUNT)
        put64(file + AT_COUNT, (size - HEAD_SIZE - FOOT_SIZE) / RECORD_SIZE);
    if (what & HEAD)
        mend_head(file);
    if (what & RECORDS)
        mend_records(file, size);
    if (what & FOOT)
        mend_foot(file, size);
}

/* Each record gives a text that gives the record. */
static void check(const struct digest_record *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t numbers[FILE_IDENTITY_NUMBERS];
        char text[FILE_IDENTITY_SIZE];
        const size_t length = file_identity_format(r[i].numbers, text);

        PROMISE(length > 0 && length < sizeof text && text[length] == '\0');
        PROMISE(file_identity_parse(span_of(text, length), numbers));
        PROMISE(memcmp(numbers, r[i].numbers, sizeof numbers) == 0);
        PROMISE(numbers[6] < 1000000000 && numbers[8] < 1000000000);
    }
}

FUZZ_TARGET(digests)
{
    const struct digest_record *records = NULL;
    uint64_t numbers[FILE_IDENTITY_NUMBERS];
    size_t n = 0;

    if (file_identity_parse(fuzz_span(data, size), numbers)) {
        char text[FILE_IDENTITY_SIZE];
        PROMISE(file_identity_format(numbers, text) == size && memcmp(text, data, size) == 0);
    }
    if (size == 0)
        return 0;
    uint8_t *file = malloc(size - 1 ? size - 1 : 1);
    if (!file)
        return 0;
    memcpy(file, data + 1, size - 1);
    mend(file, size - 1, data[0]);
    if (digest_file_parse(file, size - 1, &records, &n) == DIGEST_FILE_OK) {
        PROMISE(n <= DIGEST_FILE_MAX && size - 1 == HEAD_SIZE + n * RECORD_SIZE + FOOT_SIZE);
        PROMISE((const uint8_t *)records == file + HEAD_SIZE);
        check(records, n);
    }
    free(file);
    return 0;
}
