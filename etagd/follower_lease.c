/* SPDX-License-Identifier: Apache-2.0 */
/* The lease: renewals and what must confirm them. */
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/follower_state.h"
#include "etagd/log.h"

#define ERROR_LINE_MS 5000u /* between lines about the same outage */

/* ---- the state, for people ---- */

/* Both connections meet the same trouble again and again: it is told once. */
void follower_error(struct follower *f, const char *what, const char *why)
{
    uint64_t now = clock_mono_ms();

    snprintf(f->error, sizeof f->error, "%s: %.200s", what, why);
    if (f->held || strncmp(f->logged, why, sizeof f->logged - 1) == 0 ||
        (f->logged_ms && now - f->logged_ms < ERROR_LINE_MS))
        return;
    f->logged_ms = now;
    snprintf(f->logged, sizeof f->logged, "%s", why);
    log_warn("no lease yet: %s", f->error);
}

/* One line when it changes, not one per renewal. */
void follower_report(struct follower *f)
{
    bool held = coherence_lease(f->coherence) > clock_boot_ms();

    if (held == f->held)
        return;
    f->held = held;
    if (held) {
        log_info("lease held: epoch %s", coherence_epoch(f->coherence));
        f->error[0] = f->logged[0] = '\0';
        f->logged_ms = 0;
    } else {
        log_warn("lease lapsed, every request goes to its handler: %s",
                 f->error[0] ? f->error : "Redis has not confirmed it");
    }
}

void follower_fault(struct follower *f, const char *what, const struct redis_reply *reply)
{
    char why[256];

    redis_explain(redis_text(reply), redis_is_fault(reply, "WRONGTYPE") ? NULL : f->log_key, why, sizeof why);
    follower_error(f, what, why);
}

/* ---- the lease ---- */

static bool read_renewal(const struct redis_reply *reply, struct coherence_renewal *r)
{
    struct span epoch = redis_text(redis_at(reply, 0));
    long long born_added = redis_number(redis_at(reply, 2)), added = redis_number(redis_at(reply, 4));

    if (redis_count(reply) < 9 || epoch.n == 0 || epoch.n > COHERENCE_EPOCH || born_added < 0 || added < 0)
        return false;
    memcpy(r->epoch, epoch.p, epoch.n);
    r->epoch[epoch.n] = '\0';
    r->born_added = (uint64_t)born_added;
    r->added = (uint64_t)added;
    return log_id_parse(redis_text(redis_at(reply, 1)), &r->born) &&
           log_id_parse(redis_text(redis_at(reply, 3)), &r->last) &&
           log_id_parse(redis_text(redis_at(reply, 5)), &r->first) &&
           log_id_parse(redis_text(redis_at(reply, 6)), &r->deleted);
}

static void renewed(struct follower *f)
{
    f->renewals++;
    if (f->why[0])
        log_info("new epoch %s: %s; whatever was learned before is void", f->renewal.epoch, f->why);
    switch (coherence_renewed(f->coherence, f->renew_t0, &f->renewal)) {
    case COHERENCE_RESTART:
        follower_restart_tail(f);
        break;
    case COHERENCE_REFUSED:
        f->refusals++;
        follower_error(f, "renewal", "the log is not the one it was; a new epoch is asked for");
        break;
    case COHERENCE_PENDING:
    case COHERENCE_LEASED:
        break;
    }
}

/* The renewal is over. It counts when all who could take the master's place have seen it. */
static void conclude(struct follower *f)
{
    char why[128];

    f->renewing = false;
    if (f->answered && f->confirmed >= f->wanted) {
        renewed(f);
    } else if (f->answered) {
        f->refusals++;
        snprintf(why, sizeof why, "confirmed by %u of %u replicas: is this master cut off, or does one of them lag?",
                 f->confirmed, f->wanted);
        follower_error(f, "renewal", why);
    }
    follower_report(f);
    if (f->renew_again)
        follower_renew(f);
}

static void on_renewed(void *arg, const struct redis_reply *reply)
{
    struct follower *f = arg;
    struct span why = redis_text(redis_at(reply, 7));

    if (redis_is_fault(reply, "NOSCRIPT")) {
        script_load(&f->renew, f->lease); /* for the next turn */
        follower_error(f, "renewal", "the server had forgotten the script");
    } else if (redis_kind(reply) == REDIS_FAULT) {
        f->refusals++;
        follower_fault(f, "renewal", reply);
    } else if (redis_kind(reply) != REDIS_LOST) {
        f->answered = read_renewal(reply, &f->renewal);
        snprintf(f->why, sizeof f->why, "%.*s", (int)why.n, why.n ? why.p : "");
        if (!f->answered) {
            f->refusals++;
            follower_error(f, "renewal", "the answer makes no sense: is this Redis 7.0 or newer?");
        }
    }
    if (!f->waiting)
        conclude(f);
}

static void on_confirmed(void *arg, const struct redis_reply *reply)
{
    struct follower *f = arg;
    long long n = redis_number(reply);

    f->confirmed = n > 0 ? (unsigned)n : 0;
    if (redis_kind(reply) == REDIS_FAULT) {
        f->answered = false;
        follower_fault(f, "waiting for replicas", reply);
    }
    conclude(f);
}

/* WAIT stands behind the script on the same connection, so it is about what the script wrote. */
static void send_renewal(struct follower *f, unsigned replicas)
{
    struct span known, node = span_str(f->conf->node);
    unsigned char random[16];
    char applied[LOG_ID_TEXT], fresh[33], horizon[24], length[24], count[16], patience[24];
    bool end;

    if (!redis_is_up(f->lease) || RAND_bytes(random, sizeof random) != 1)
        return;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(fresh + 2 * i, 3, "%02x", random[i]);
    log_id_format(coherence_position(f->coherence), applied);
    coherence_ask(f->coherence, &known, &end);
    snprintf(horizon, sizeof horizon, "%" PRIu64, f->conf->horizon_ms);
    snprintf(length, sizeof length, "%" PRIu64, f->conf->log_max);
    struct span args[] = {span_str(f->epoch_key), span_str(f->log_key),
                          span_str(f->nodes_key), node,
                          span_str(applied),      known.n ? known : SPAN_LITERAL("-"),
                          span_str(fresh),        end ? SPAN_LITERAL("1") : SPAN_LITERAL("0"),
                          span_str(horizon),      span_str(length),
                          SPAN_LITERAL("etagd")};
    f->answered = false;
    f->confirmed = 0;
    f->wanted = replicas;
    f->renewing = script_call(&f->renew, f->lease, 3, sizeof args / sizeof args[0], args, on_renewed, f);
    f->waiting = false;
    if (!f->renewing || replicas == 0)
        return;
    snprintf(count, sizeof count, "%u", replicas);
    snprintf(patience, sizeof patience, "%" PRIu64, f->conf->lease_ms / 4);
    struct span wait[] = {SPAN_LITERAL("WAIT"), span_str(count), span_str(patience)};
    f->waiting = redis_send(f->lease, 3, wait, on_confirmed, f); /* else confirmed stays 0 */
}

void follower_majority(void *arg, unsigned replicas)
{
    struct follower *f = arg;

    f->asking = false;
    if (f->lease && !f->renewing)
        send_renewal(f, replicas > f->conf->wait_replicas ? replicas : f->conf->wait_replicas);
}

static void report_missing_majority(struct follower *f)
{
    struct witness_stats stats;
    char why[256];

    witnesses_stats(f->witnesses, &stats);
    snprintf(why, sizeof why, "%u of %u %s agree about the master, more than half must%s%.150s", stats.agreeing,
             stats.known, witnesses_name(f->witnesses), stats.error[0] ? "; " : "", stats.error);
    follower_error(f, "renewal", why);
}

/* Witnesses that are slow to answer are given half of what their answer is worth. */
static bool is_waiting_for_majority(struct follower *f)
{
    if (!f->asking)
        return false;
    if (clock_boot_ms() - f->renew_t0 < f->conf->lease_ms / 2)
        return true;
    report_missing_majority(f);
    return false;
}

void follower_renew(struct follower *f)
{
    f->renew_again = f->renewing;
    if (f->renewing || !f->lease || !redis_is_up(f->lease) || is_waiting_for_majority(f))
        return;
    f->renew_t0 = clock_boot_ms(); /* before anything is sent: a late answer shortens the lease */
    f->asking = f->witnesses != NULL;
    if (f->witnesses)
        witnesses_ask(f->witnesses, &f->majority);
    else
        send_renewal(f, f->conf->wait_replicas);
}

void follower_lease_timer(int fd, short what, void *arg)
{
    struct follower *f = arg;

    (void)fd;
    (void)what;
    follower_report(f);
    if (!f->renewing)
        follower_renew(f);
}

void follower_lease_up(void *arg)
{
    struct follower *f = arg;

    script_load(&f->renew, f->lease);
    follower_renew(f);
}

void follower_lease_down(void *arg, const char *why)
{
    follower_error(arg, "lease connection", why);
}

void follower_stats(const struct follower *f, struct follower_stats *out)
{
    bool held = coherence_lease(f->coherence) > clock_boot_ms();

    out->state = held ? "held" : f->renewals ? "lapsed" : "waiting";
    out->replicas = f->wanted;
    out->renewals = f->renewals;
    out->refusals = f->refusals;
    memcpy(out->error, f->error, sizeof out->error);
}
