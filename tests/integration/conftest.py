# SPDX-License-Identifier: Apache-2.0
"""Fixtures: factories of servers that are stopped, checked and removed after each test.

A test asks for `new_httpd`, `new_etagd`, `new_redis` (call them as often as needed) or for the ready
made `redis`, `etagd`, `httpd`. A server's complaint that the test did not announce with expect_log()
fails the test.
"""
import functools
import shutil
import signal

import pytest

from env import machine, writes
from env.backend import Backend
from env.cluster import Cluster
from env.etagd import Etagd
from env.fuse import Fuse, Unavailable
from env.httpd import MPM, Httpd
from env.php import Php
from env.redis import Redis
from env.sentinel import Farm, Sentinel
from matrix.site import Site


def pytest_addoption(parser):
    parser.addoption("--mpm", default="event", help="MPMs for tests that ask for `mpm`: event,worker,prefork or all")
    parser.addoption("--long", action="store_true", help="also the tests marked long")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: full matrices, for make check-long")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures end what they began


def pytest_generate_tests(metafunc):
    if "mpm" in metafunc.fixturenames:
        given = metafunc.config.getoption("--mpm")
        # Of the module: servers that a whole module shares ask for it as well.
        metafunc.parametrize("mpm", list(MPM) if given == "all" else given.split(","), scope="module")


def by_mpm(items):
    """Within a module one MPM after the other: pytest's own order goes to and fro, and what a module shares is made anew
    at every change."""
    files = {path: n for n, path in enumerate(dict.fromkeys(i.path for i in items))}
    order = [None, *MPM]

    def place(item):
        mpm = item.callspec.params.get("mpm") if hasattr(item, "callspec") else None
        return files[item.path], order.index(mpm)

    if len({place(i)[1] for i in items} - {0}) > 1:
        items.sort(key=place)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    by_mpm(items)
    if not config.getoption("--long"):
        short = [i for i in items if "long" not in i.keywords]
        config.hook.pytest_deselected(items=[i for i in items if "long" in i.keywords])
        items[:] = short


def pytest_sessionfinish():
    machine.unstage()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails; tests marked long may take an hour."""
    limit = 3600 if "long" in item.keywords else 120

    def give_up(_number, _frame):
        pytest.fail(f"took longer than {limit} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(limit)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every server's log."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("call", "teardown"):
        for server in getattr(item, "etag_servers", []) + getattr(item.parent, "etag_servers", []):
            report.sections.append((f"log of {server.folder.name}", server.tail()))


@pytest.fixture
def work():
    """A temporary folder that the servers' account can enter."""
    folder = machine.new_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _servers(node, work):
    """Makes servers in numbered folders of their own; ends and judges them afterwards."""
    made = node.etag_servers = []

    def make(kind, *args, **how):
        folder = machine.own_folder(work, f"{kind.name}{len(made)}")
        server = kind(folder, *args, **how)
        made.append(server)
        return server

    yield make
    troubles = []
    for server in reversed(made):  # httpd before etagd before Redis: nobody is orphaned on purpose
        try:
            ended = server.proc.poll() if server.proc else None
            if ended is not None:
                troubles.append(f"{server.folder.name}: ended by itself with status {ended}")
            server.stop()
        except Exception as e:  # the others must still be stopped
            troubles.append(f"{server.folder.name}: {e}")
            server.kill()
        troubles += [f"{server.folder.name}: {line}" for line in server.problems()]
    if troubles:
        pytest.fail("servers complained:\n" + "\n".join(troubles), pytrace=False)


@pytest.fixture
def servers(request, work):
    yield from _servers(request.node, work)


@pytest.fixture(scope="module")
def shared_servers(request):
    """servers for the whole of a module: where tests only ask, and starting would cost more than asking."""
    folder = machine.new_folder()
    yield from _servers(request.node, folder)
    shutil.rmtree(folder, ignore_errors=True)

@pytest.fixture
def new_redis(servers):
    return lambda *a, **how: servers(Redis, *a, **how)


@pytest.fixture
def new_sentinel(servers):
    return lambda *a, **how: servers(Sentinel, *a, **how)


@pytest.fixture
def farm(new_redis, new_sentinel):
    """A master, two replicas and three Sentinels, all of one mind."""
    return Farm(new_redis, new_sentinel).start()


@pytest.fixture
def redis_cluster(new_redis):
    """A Redis Cluster of three masters, each with a replica."""
    return Cluster(new_redis).start()


@pytest.fixture
def new_etagd(servers):
    return lambda *a, **how: servers(Etagd, *a, **how)


@pytest.fixture
def new_httpd(servers):
    """Not started: set its files and config first, then start()."""
    return lambda *a, **how: servers(Httpd, *a, **how)


@pytest.fixture
def redis(new_redis):
    return new_redis().start()


@pytest.fixture
def etagd(new_etagd):
    """An embedded etagd, running."""
    return new_etagd().start()


@pytest.fixture
def httpd(new_httpd, etagd):
    """httpd with mod_etag and an embedded etagd; not started. Its config begins with ETagEngine On."""
    return new_httpd("ETagEngine On\n", etagd=etagd)


@pytest.fixture
def new_fuse(work):
    """Mounts file systems of one file, its content given, at the same folder: one at a time."""
    mounted = []

    def make(content):
        if mounted:
            mounted.pop().__exit__()
        folder = work / "fuse"
        try:
            mounted.append(Fuse(folder if folder.exists() else machine.own_folder(work, "fuse"), content).__enter__())
        except Unavailable as e:
            pytest.skip(f"FUSE: {e}")
        return mounted[0]

    yield make
    for f in mounted:
        f.__exit__()


@pytest.fixture
def backend():
    """A small application for ProxyPass, running."""
    with Backend() as application:
        yield application


# --- sites of conditional writes (env/writes.py) ---

@pytest.fixture
def scripted(new_httpd, etagd):
    return functools.partial(writes.scripted, new_httpd, etagd)


@pytest.fixture
def proxied(new_httpd, etagd, backend):
    return functools.partial(writes.proxied, new_httpd, etagd, backend)


@pytest.fixture
def dav(new_httpd, etagd):
    return functools.partial(writes.dav, new_httpd, etagd)


# --- sites of the matrix ---

@pytest.fixture
def new_matrix(servers, new_httpd, new_etagd, backend):
    """A site of the matrix (matrix/site.py), with an etagd of its own that runs or is away."""
    def make(up=True, mpm="event", **how):
        etagd = new_etagd()
        if up:
            etagd.start()
        site = Site(new_httpd, servers(Php).start(), backend, etagd, mpm, **how)
        if not up:
            site.httpd.expect_log("working without etagd")
        return site

    return make
