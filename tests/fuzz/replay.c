/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the fuzz targets without libFuzzer: every file of tests/fuzz/corpus/TARGET, and then ROUNDS
 * inputs for each target made from those files by the changes below, the same in every run. Each input
 * lies in a block of exactly its size. A target that finds something aborts.
 *
 *   replay [ROUNDS]
 */
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "tests/unit/exact.h"

#define INPUTS_MAX 256u
#define INPUT_SIZE 16384u

static const struct target {
    const char *name;
    int (*run)(const uint8_t *data, size_t size);
} targets[] = {{"tags", fuzz_tags}, {"keys", fuzz_keys}, {"scopes", fuzz_scopes}, {"entries", fuzz_entries}, {"digests", fuzz_digests}, {"fields", fuzz_fields}};

struct corpus {
    struct span input[INPUTS_MAX];
    size_t n;
};

/* Where an abort shall leave the input that caused it. */
static struct span running;

static void keep_input(int signal_number)
{
    ssize_t written = write(STDERR_FILENO, running.p, running.n);

    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static bool read_file(const char *path, struct span *out)
{
    char buf[INPUT_SIZE];
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        return false;
    n = fread(buf, 1, sizeof(buf), f);
    fclose(f);
    *out = exact(buf, n);
    return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool corpus_read(struct corpus *c, const char *name)
{
    char path[PATH_MAX];
    struct dirent **found;
    int n;

    c->n = 0;
    snprintf(path, sizeof(path), "%s/%s", FUZZ_CORPUS, name);
    n = scandir(path, &found, NULL, by_name);
    for (int i = 0; i < n; i++) {
        if (found[i]->d_name[0] != '.' && c->n < INPUTS_MAX) {
            snprintf(path, sizeof(path), "%s/%s/%s", FUZZ_CORPUS, name, found[i]->d_name);
            c->n += read_file(path, &c->input[c->n]);
        }
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    return c->n > 0;
}

static void run(const struct target *t, const char *bytes, size_t n)
{
    struct span input = exact(bytes, n);

    running = input;
    t->run((const uint8_t *)input.p, input.n);
    running = span_of(NULL, 0);
    exact_free(input);
}

/* One change: a byte replaced, removed or put in, a piece repeated many times, or taken from another. */
static size_t change(uint64_t *seed, const struct corpus *c, char *buf, size_t n)
{
    static const char special[] = "\"',/\\*?#&=%:;@[]{}~.-+ \t\r\n\0\x7f\xff-W019azAZ";
    const struct span other = c->input[below(seed, (unsigned)c->n)];
    size_t at = below(seed, (unsigned)n + 1), length = below(seed, 16) + 1u, times;

    switch (below(seed, 5)) {
    case 0:
        if (at < n)
            buf[at] = special[below(seed, sizeof(special) - 1)];
        return n;
    case 1:
        length = length < n - at ? length : n - at;
        memmove(buf + at, buf + at + length, n - at - length);
        return n - length;
    case 2:
        if (n == INPUT_SIZE)
            return n;
        memmove(buf + at + 1, buf + at, n - at);
        buf[at] = below(seed, 2) ? (char)below(seed, 256) : special[below(seed, sizeof(special) - 1)];
        return n + 1;
    case 3:
        length = length < n - at ? length : n - at;
        times = below(seed, 8) ? 1 : below(seed, 400);
        if (length * times > INPUT_SIZE - n)
            return n;
        memmove(buf + at + length * times, buf + at, n - at);
        for (size_t i = 1; i < times; i++)
            memcpy(buf + at + length * i, buf + at, length);
        return n + length * times;
    default:
        length = other.n < INPUT_SIZE - at ? other.n : INPUT_SIZE - at;
        if (length)
            memcpy(buf + at, other.p, length);
        return at + length > n ? at + length : n;
    }
}

static void run_changed(const struct target *t, const struct corpus *c, unsigned long rounds)
{
    static char buf[INPUT_SIZE];
    uint64_t seed = 1;

    for (unsigned long r = 0; r < rounds; r++) {
        struct span from = c->input[below(&seed, (unsigned)c->n)];
        size_t n = from.n;

        if (n)
            memcpy(buf, from.p, n);
        for (unsigned changes = below(&seed, 6) + 1; changes; changes--)
            n = change(&seed, c, buf, n);
        run(t, buf, n);
    }
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;

    signal(SIGABRT, keep_input);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        static struct corpus corpus;

        if (!corpus_read(&corpus, targets[i].name)) {
            fprintf(stderr, "no inputs in %s/%s\n", FUZZ_CORPUS, targets[i].name);
            return 1;
        }
        for (size_t f = 0; f < corpus.n; f++)
            run(&targets[i], corpus.input[f].p, corpus.input[f].n);
        run_changed(&targets[i], &corpus, rounds);
        printf("%s: %zu inputs, %lu changed ones\n", targets[i].name, corpus.n, rounds);
        for (size_t f = 0; f < corpus.n; f++)
            exact_free(corpus.input[f]);
    }
    return 0;
}
