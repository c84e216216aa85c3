# SPDX-License-Identifier: Apache-2.0
"""A real producer of versions: a PostgreSQL table with a trigger, and the job that tells what the trigger has counted."""
import re
import threading

import pytest
from env.backend import answer
from env.node import LOG
from env.postgres import CONF, Postgres, Teller
from env.process import wait_for
from env.versions import JSON, PROXY, Page, configuration, early, every, make, tag_of

TABLE = """
CREATE TABLE patient (id int PRIMARY KEY, name text);
CREATE TRIGGER etag AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON patient EXECUTE FUNCTION etag_changed('Patient');
INSERT INTO patient VALUES (1, 'Ada');
"""


@pytest.fixture
def database(servers):
    started = servers(Postgres).start()
    started.sql((CONF / "etag-version.sql").read_text() + TABLE)
    return started


@pytest.fixture
def cluster(redis, new_etagd, new_httpd, backend, database, servers):
    """Three nodes in front of one application that reads the table; the job is running."""
    daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(3)]
    sites = [new_httpd(configuration(backend), modules=PROXY, etagd=d).start() for d in daemons]
    c = make(redis, daemons, sites, backend)

    def serve(request, send):
        send(answer(database.sql("SELECT json_agg(p ORDER BY id) FROM patient p"), JSON, request=request))
        return True

    backend.routes["/p"] = serve
    c.teller = servers(Teller, database, redis).start()
    return c


def told(cluster, database):
    """The version that the table has now is known on every node."""
    n = database.sql("SELECT n FROM etag_version WHERE name = 'Patient'")
    for daemon in cluster.daemons:
        wait_for(lambda d=daemon: n.encode() in (d.call("ETAG", "VERSION", "Patient") or []), f"version {n} on every node")
    return n


def test_a_page_is_confirmed_until_its_row_changes(cluster, database):
    told(cluster, database)
    seen = set()
    for change in ("UPDATE patient SET name = 'Grace' WHERE id = 1", "INSERT INTO patient VALUES (2, 'Edsger')",
                   "DELETE FROM patient WHERE id = 1", "BEGIN; UPDATE patient SET name = 'Tony'; COMMIT", "TRUNCATE patient"):
        full = cluster.nodes[0].get("/p")
        tag = tag_of(full)
        assert tag not in seen and every(cluster, tag)
        seen.add(tag)
        database.sql("BEGIN; UPDATE patient SET name = 'nobody'; ROLLBACK")
        assert all(early(n, cluster.page, tag) for n in cluster.nodes), "nothing was committed"
        database.sql(change)
        told(cluster, database)
        for node in cluster.nodes:
            a = node.get("/p", {"If-None-Match": tag})
            assert a.status == 200 and a.body != full.body and a.etag != tag


def test_numbers_follow_the_commits(cluster, database):
    """Eight writers at once: what is told only grows, nothing is ever in doubt, and the last state is the one confirmed."""
    def write(i):
        for j in range(5):
            database.sql(f"INSERT INTO patient VALUES ({100 * (i + 1) + j}, 'x')")

    writers = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for t in writers:
        t.start()
    for t in writers:
        t.join()
    n = told(cluster, database)
    numbers = [int(re.match(rb"Patient (\d+)$", fields[1]).group(1))
               for _, fields in cluster.redis.call("XRANGE", LOG, "-", "+") if fields[0] == b"version"]
    assert numbers == sorted(numbers) and numbers[-1] == int(n)
    assert all(d.info("Versions")["versions_doubted"] == "0" for d in cluster.daemons)
    full = cluster.nodes[1].get("/p")
    assert full.body.count(b'"x"') == 40 and every(cluster, tag_of(full))


def test_told_although_redis_was_away(cluster, database):
    """What has changed meanwhile is told as soon as there is a Redis again."""
    told(cluster, database)
    tag = tag_of(cluster.nodes[0].get("/p"))
    cluster.redis.kill()
    database.sql("INSERT INTO patient VALUES (2, 'Edsger')")
    wait_for(lambda: "Could not connect to Redis" in cluster.teller.tail(), "the job to have tried")
    cluster.redis.start()
    cluster.leased()
    told(cluster, database)
    assert not any(early(n, cluster.page, tag) for n in cluster.nodes)
    assert every(cluster, tag_of(cluster.nodes[1].get("/p")))


def test_told_again_to_a_redis_that_has_lost_everything(cluster, database, servers):
    """Unknown after FLUSHALL, until the job says it again: here because it is started anew, otherwise within a minute."""
    told(cluster, database)
    tag = tag_of(cluster.nodes[0].get("/p"))
    epoch = cluster.daemons[0].info("Store")["epoch"]
    cluster.teller.stop()
    cluster.redis.call("FLUSHALL")
    for daemon in cluster.daemons:
        daemon.wait_info("epoch", lambda e: e not in ("", epoch))
    cluster.leased()
    assert all(n.get("/p", {"If-None-Match": tag}).etag is None for n in cluster.nodes)
    servers(Teller, database, cluster.redis).start()
    told(cluster, database)
    assert every(cluster, tag), "nothing has changed in the table, so the tag has not"
