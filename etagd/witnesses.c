/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/witnesses.h"

#include <stdlib.h>

#include "etagd/sentinel.h"

struct witnesses {
    struct sentinels *sentinels; /* one of the two */
    struct cluster *cluster;
};

struct witnesses *witnesses_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                                const struct witness_events *events, const struct cluster_map_events *map)
{
    struct witnesses *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    if (url->cluster)
        w->cluster = cluster_new(base, conf, url, events, map);
    else
        w->sentinels = sentinels_new(base, conf, url, events);
    if (w->cluster || w->sentinels)
        return w;
    free(w);
    return NULL;
}

void witnesses_free(struct witnesses *w)
{
    if (!w)
        return;
    sentinels_free(w->sentinels);
    cluster_free(w->cluster);
    free(w);
}

bool witnesses_named(const struct redis_url *url)
{
    return url->nseeds > 0;
}

void witnesses_ask(struct witnesses *w, struct witness_wait *wait)
{
    if (w->cluster)
        cluster_ask(w->cluster, wait);
    else
        sentinels_ask(w->sentinels, wait);
}

void witnesses_doubt(struct witnesses *w)
{
    if (w->cluster)
        cluster_doubt(w->cluster);
}

const char *witnesses_name(const struct witnesses *w)
{
    return w->cluster ? "masters" : "Sentinels";
}

void witnesses_stats(const struct witnesses *w, struct witness_stats *out)
{
    if (w->cluster)
        cluster_stats(w->cluster, out);
    else
        sentinels_stats(w->sentinels, out);
}
