#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three Apache nodes that agree, beside three that do not. make demo runs it; KEEP=1 leaves it running.

Exit status 1 if anything it prints is not as claimed.
"""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from env.process import Failed  # noqa: E402

import content  # noqa: E402
import scenes_files  # noqa: E402
import scenes_pages  # noqa: E402
from cluster import Cluster  # noqa: E402
from forget import RedisCli  # noqa: E402
from show import Show  # noqa: E402


def play(show, cluster, names):
    scenes_files.same_tags(show, cluster, names)
    scenes_files.revalidation(show, cluster, names)
    scenes_pages.without_the_handler(show, cluster)
    cli = RedisCli(cluster.redis)
    try:
        scenes_pages.one_command(show, cluster, cli)
    finally:
        cli.close()
    scenes_pages.redis_dies(show, cluster, names)
    complaints = cluster.complaints()
    for line in complaints:
        show.line(f"   {line}")
    show.claim("no server logged a warning that the killing of Redis does not explain", not complaints)


def by_hand(show, cluster):
    node, other = cluster.ours[0], cluster.ours[1]
    show.heading("Left running: try it by hand")
    show.line(f"""\
   curl -sD - -o /dev/null http://127.0.0.1:{node.port}{scenes_pages.PAGE} -H 'Host: www.example.com'
   curl -sD - -o /dev/null http://127.0.0.1:{other.port}{scenes_pages.PAGE} -H 'Host: www.example.com' -H 'If-None-Match: TAG'
   redis-cli -p {cluster.redis.port} XADD '{{etag}}:log' '*' url www.example.com{scenes_pages.PAGE}
   redis-cli -p {cluster.redis.port} XRANGE '{{etag}}:log' - +
   redis-cli -s {cluster.nodes[0].etagd.socket} INFO

   Nodes: {', '.join(s.url('/') for s in cluster.ours)}; stock: {', '.join(s.url('/') for s in cluster.stock)}
   Logs and configurations: {cluster.folder}
   Stop everything: sh {cluster.leave()}""")


def main():
    keep = os.environ.get("KEEP", "") not in ("", "0", "no")
    show, cluster, began = Show(), Cluster(), time.monotonic()
    try:
        files = content.choose()
        for node in cluster.nodes:
            content.copy_to(files, node.ours.docs, node.number)
        kinds = len({content.kind_of(path) for _, path in files})
        show.line(f"{len(files)} files of {kinds} kinds, copied to each of three nodes; one Redis, one application, a CGI.")
        cluster.start(outlive_us=keep)
        play(show, cluster, [name for name, _ in files])
    except (Failed, OSError) as e:
        show.claim(f"nothing broke: {e}", False)
    finally:
        if keep and cluster.started:
            by_hand(show, cluster)
        else:
            cluster.stop()
    show.line(f"\nDone in {time.monotonic() - began:.1f} s" + ("." if keep else "; everything that was started is stopped."))
    return show.end()


if __name__ == "__main__":
    sys.exit(main())
