# SPDX-License-Identifier: Apache-2.0
"""Static files: one tag on every node, and what that saves on the second visit."""
CODINGS = ("identity", "gzip", "br")


def tags_of(servers, names):
    """{name: the tags the servers give, in their order}."""
    found = {name: [] for name in names}
    for server in servers:
        with server.connect() as c:
            for name in names:
                found[name].append(c.request("HEAD", f"/{name}").etag)
    return found


def agree(tags):
    return sum(len(set(given)) == 1 and None not in given for given in tags.values())


def same_tags(show, cluster, names):
    show.heading("The same files on three nodes, with other mtimes and inodes")
    stock, ours = tags_of(cluster.stock, names), tags_of(cluster.ours, names)
    samples = sorted({name.split("/")[0]: name for name in reversed(names)}.values())[:5]
    show.table(("file", "node", "stock Apache", "mod_etag"),
               [(name if node == 0 else "", node + 1, stock[name][node], ours[name][node])
                for name in samples for node in range(3)])
    show.line()
    show.claim(f"mod_etag: {agree(ours)} of {len(names)} files have one tag on all three nodes",
               agree(ours) == len(names))
    show.claim(f"stock Apache: {agree(stock)} of {len(names)}", agree(stock) == 0)


def visit(server, names, coding, tags=None):
    """Every file, conditionally when tags are given: {name: response}."""
    got = {}
    with server.connect() as c:
        for name in names:
            headers = {"Accept-Encoding": coding}
            if tags and tags[name]:
                headers["If-None-Match"] = tags[name]
            got[name] = c.get(f"/{name}", headers)
    return got


def second_visit(servers, names, coding):
    """A first visit on the first server, then one on each other: (tags, first bytes, second visits)."""
    first = visit(servers[0], names, coding)
    tags = {name: response.etag for name, response in first.items()}
    return tags, sum(len(r.body) for r in first.values()), [visit(s, names, coding, tags) for s in servers[1:]]


def revalidation(show, cluster, names):
    show.heading("A first visit on node 1, the second on node 2 or 3: bytes sent")
    rows, echoed = [], {}
    for coding in CODINGS:
        for label, servers in (("stock Apache", cluster.stock), ("mod_etag", cluster.ours)):
            tags, size, visits = second_visit(servers, names, coding)
            row = [label, coding, f"{size:,}"]
            for seen in visits:
                row += [f"{sum(len(r.body) for r in seen.values()):,}", sum(r.status == 304 for r in seen.values())]
            rows.append(row)
            if label == "mod_etag":
                echoed[coding] = all(r.status == 304 and r.etag == tags[n] for v in visits for n, r in v.items())
    show.table(("", "coding", "node 1, first", "node 2", "304s", "node 3", "304s"), rows)
    show.line()
    for coding in CODINGS:
        show.claim(f"{coding}: every tag from node 1 gives 304 on nodes 2 and 3, which echo it", echoed[coding])
