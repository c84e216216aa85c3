# SPDX-License-Identifier: Apache-2.0
"""Generated pages: 304 without the application, one redis-cli command, and Redis killed."""
import time

from env.process import Failed, wait_for

from cluster import HOST, LEASE
from forget import Watch, forget, watch

PRODUCT = "42"
PAGE, REPORT = f"/app/products/{PRODUCT}", "/cgi/report"


def learned(server, target, tag, calls):
    """Whether the server answers 304 without a call."""
    before = calls()
    response = server.get(target, {"If-None-Match": tag})
    return response.status == 304 and response.etag == tag and calls() == before


def teach(cluster, target, calls):
    """Fetches a page on node 1 until every node answers for it; returns its tag."""
    tag = cluster.ours[0].get(target).etag
    if tag is None:
        raise Failed(f"{target} has no tag")
    for server in cluster.ours:
        wait_for(lambda s=server: learned(s, target, tag, calls), f"{server.folder} to know {target}")
    return tag


def without_the_handler(show, cluster):
    show.heading("A page of the application and a CGI: asked again, ten times on each node")
    rows, claims = [], []
    for what, target, calls in (("application", PAGE, cluster.application.count), ("CGI", REPORT, cluster.cgi_runs)):
        stock_tag = cluster.stock[0].get(target).etag
        tag = teach(cluster, target, calls)
        for label, servers, known in (("stock Apache", cluster.stock, stock_tag), ("mod_etag", cluster.ours, tag)):
            before, size, statuses = calls(), 0, []
            for server in servers:
                with server.connect() as c:
                    for _ in range(10):
                        response = c.get(target, {"If-None-Match": known} if known else {})
                        statuses.append(response.status)
                        size += len(response.body)
            count = calls() - before
            rows.append((what, label, known or "(none)", statuses.count(304), f"{size:,}", count))
            if label == "mod_etag":
                claims.append((what, count == 0 and statuses == [304] * 30))
    show.table(("", "", "tag", "304s of 30", "bytes", "calls"), rows)
    show.line()
    for what, true in claims:
        show.claim(f"the {what} was not called for any of 30 requests on three nodes: 304 comes before it", true)


OPERATIONS = (f"url {HOST}{PAGE}", f"prefix {HOST}/app/products/", f"tag product-{PRODUCT}", f"host {HOST}", "all 1")


def one_command(show, cluster, cli):
    show.heading("One redis-cli command, and every node forgets: microseconds after it was sent")
    rows, good = [], []
    for operation in OPERATIONS:
        tag = teach(cluster, PAGE, cluster.application.count)
        revision = cluster.application.edit(PRODUCT)
        kept = [s.get(PAGE, {"If-None-Match": tag}).status for s in cluster.ours]
        got = forget(cli, cluster, PAGE, tag, f"XADD {{etag}}:log * {operation}")
        rows.append([f"XADD {{etag}}:log '*' {operation}", *(f"{us:,.0f}" for us in [got.answered, *got.tables]),
                     "never" if None in got.seen else f"{max(got.seen):,.0f}"])
        fresh = all(b is not None and f"revision {revision}<".encode() in b for b in got.bodies)
        good.append(kept == [304] * 3 and fresh and len(set(got.tags)) == 1 and got.tags[0] not in (None, tag))
    show.table(("command", "answered", "node 1", "node 2", "node 3", "over HTTP"), rows)
    show.line(f"""
   node 1 to 3: the moment from which the node's table no longer believes the tag, stamped by its etagd.
   over HTTP: the last of the three nodes to answer 200 instead of 304 to a client that asks every {Watch.PAUSE * 1e3:g} ms.
""")
    for operation, true in zip(OPERATIONS, good):
        show.claim(f"{operation.split()[0]}: three nodes forgot, and agree on the new page's tag", true)


def redis_dies(show, cluster, names):
    show.heading(f"Redis is killed (the lease is {LEASE:g} s)")
    tag = teach(cluster, PAGE, cluster.application.count)
    files = {name: cluster.ours[0].get(f"/{name}").etag for name in names}
    revision = cluster.application.edit(PRODUCT)
    _, begun, _, watches = watch(cluster.ours, PAGE, tag, cluster.redis.kill, timeout=LEASE + 5)
    late = [w.at - begun if w.at else None for w in watches]
    told = ", ".join("never" if s is None else f"{s:.2f} s" for s in late)
    show.line(f"   The page changes at the same moment. Its old tag is no longer believed after: {told}.")
    show.claim("no stale 304 after the lease", all(s is not None and s <= LEASE + 0.1 for s in late))
    pages = [s.get(PAGE, {"If-None-Match": tag}) for s in cluster.ours]
    show.claim("the page is right on all three nodes, without Redis",
               all(p.status == 200 and f"revision {revision}<".encode() in p.body for p in pages))
    again = [s.get(f"/{n}", {"If-None-Match": files[n]}).status for s in cluster.ours for n in names]
    show.claim("files keep their tags and their 304s, without Redis", set(again) == {304})
    began = time.monotonic()
    cluster.redis.start()
    teach(cluster, PAGE, cluster.application.count)
    show.claim(f"Redis comes back empty: {time.monotonic() - began:.2f} s later pages are answered early again", True)
