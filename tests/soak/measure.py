# SPDX-License-Identifier: Apache-2.0
"""How soon all is well: after everything has ended, and after one more partition, whose staleness is measured too."""
import threading
import time

from env.process import Failed, wait_for

from application import pages
from cluster import HOST, LEASE
from history import TOLERANCE
from load import Client, TROUBLE

RESULTS = []       # lines of the report
LIVELY = 10.0      # seconds after which every key must be answered early again
RECOVERED = 2.0    # seconds after the first renewal ...
SHARE = 0.99       # ... in which so many keys' second requests are early


def leased(node):
    try:
        return int(node.info()["left_ms"]) > 0
    except TROUBLE:
        return False


def learn(client, page):
    """Whether the second request for a page is early: the first one tells the tag. None: it changed meanwhile."""
    first, _ = client.get(page)
    if first is None or not first.etag:
        return False
    second, early = client.get(page, [first.etag])
    if second is not None and second.status != 304:
        return None
    return second is not None and early


def everybody(run, function):
    """function(node) for every node at the same time; results in their order."""
    results = [None] * len(run.cluster.nodes)

    def one(n, node):
        results[n] = function(node)

    threads = [threading.Thread(target=run.guard, args=(one, n, node)) for n, node in enumerate(run.cluster.nodes)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def early_again(run, node, patience):
    """Pages that are not answered early on this node when patience is over."""
    client, left, end = Client(run, node), set(pages()), time.monotonic() + patience
    while left and time.monotonic() < end:
        for page in sorted(left):
            if learn(client, page):
                left.remove(page)
    client.close()
    return left


def alive(run):
    """Faults have ended, changes go on: every page is early again on every node."""
    began = time.monotonic()
    if not run.until(run.cluster.redis_is_well, LIVELY):
        run.history.violate("liveness", "Redis does not answer")
        return
    for node, left in zip(run.cluster.nodes, everybody(run, lambda n: early_again(run, n, LIVELY))):
        if left:
            told = {name: node.info()[name] for name in ("state", "left_ms", "last_error", "conflicts")}
            run.history.violate("liveness", f"{node.name}: {len(left)} pages are not early after {LIVELY:g} s, "
                                            f"{sorted(left)[0]} among them: {told}", sorted(left)[0])
    RESULTS.append(f"every page early on every node {time.monotonic() - began:.2f} s after the last fault")


def wellness(run):
    """After the last fault."""
    run.application.slow = 0.0  # its own time is not ours
    alive(run)
    with run.changing:
        writes_have_ended(run)
        staleness(run)
        recovery(run)


def writes_have_ended(run):
    """What nodes kept while they could not reach Redis has reached everybody."""
    def sent():
        return all(int(n.info()["invalidations_unsent"]) == 0 and leased(n) for n in run.cluster.nodes)

    if not run.until(sent, LIVELY):
        run.history.violate("unbounded queue", "invalidations are not sent although Redis is well")
        return
    now = time.monotonic()
    run.history.ended(pages(), now, now)  # the bound is the lease's: delivery is within it
    run.patience.wait(LEASE + 2 * TOLERANCE)

    def offer(node):
        client = Client(run, node)
        for page in pages():
            for tag in run.history.dead_tags(page):
                client.get(page, [tag])
        client.close()

    everybody(run, offer)


def staleness(run):
    """All nodes are cut off, everything is invalidated, and they are asked with dead tags until none confirms them."""
    everybody(run, lambda n: early_again(run, n, LIVELY))
    tags = {p: run.history.known_tag(p, run.history.current(p)) for p in pages()}
    for node in run.cluster.nodes:
        node.gate.close()
    for page in pages():
        run.application.change(page)
    began = time.monotonic()
    run.cluster.xadd("host", HOST)
    ended = time.monotonic()
    run.history.ended(pages(), began, ended)
    last = everybody(run, lambda n: last_confirmation(run, n, tags))
    longest = max(last) - ended
    RESULTS.append(f"staleness under partition: {longest:.3f} s (lease {LEASE:g} s)")
    if longest > LEASE + TOLERANCE:
        run.history.violate("stale", f"{longest:.3f} s under partition")


def last_confirmation(run, node, tags):
    client, last, end = Client(run, node), 0.0, time.monotonic() + 1.5 * LEASE
    while time.monotonic() < end:
        for page, tag in tags.items():
            began = time.monotonic()
            response, _ = client.get(page, [tag])
            if response is not None and response.status == 304:
                last = began
    client.close()
    return last


def recovery(run):
    """From the first renewal after the partition: when is the second request for each page early?"""
    for node in run.cluster.nodes:
        node.gate.open()

    def recover(node):
        try:
            wait_for(lambda: leased(node), f"a lease of {node.name}", LIVELY)
        except Failed as e:
            run.history.violate("liveness", str(e))
            return [LIVELY] * len(pages())
        renewed, client, took = time.monotonic(), Client(run, node), []
        for page in pages():
            while not learn(client, page) and time.monotonic() < renewed + LIVELY:
                pass
            took.append(time.monotonic() - renewed)
        client.close()
        return took

    took = sorted(t for times in everybody(run, recover) for t in times)
    share = sum(t <= RECOVERED for t in took) / len(took)
    RESULTS.append(f"recovery: {100 * share:.1f} % of {len(took)} keys early at the second request within "
                   f"{RECOVERED:g} s of the first renewal, the last after {took[-1]:.2f} s")
    if share < SHARE and run.long:  # beside other tests it is only a smoke test
        run.history.violate("recovery", RESULTS[-1])
