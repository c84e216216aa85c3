# SPDX-License-Identifier: Apache-2.0
"""http-cache-tests (cache-tests.fyi), its Node origin and client around httpd: what stock passes, we pass."""
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from env import machine
from env.etagd import Etagd
from env.httpd import Httpd
from env.process import Process

PINNED = Path(__file__).parent / "http_cache"
NO_NETWORK = re.compile(r"\b(EAI_AGAIN|ENOTFOUND|ENETUNREACH|EHOSTUNREACH|ECONNREFUSED|ECONNRESET|ETIMEDOUT|"
                        r"SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|"
                        r"ERR_SOCKET_TIMEOUT|E50\d)\b")
PATIENCE = 110  # seconds for the 350 tests, a hundred at a time, most with pauses of three seconds
REPEATS = 3

ON = "ETagEngine On\nETagTimeout 1s\n"
SIDES = {"stock": "", "on": ON, "early": ON + "ETagEarly On\n"}
DISK = "CacheEnable disk /\nCacheRoot {root}\nCacheHeader On\n"
CACHES = {
    "no cache": "",
    # With what the suite's author gives httpd to be measured.
    "quick": DISK + "CacheDirLevels 5\nCacheDirLength 3\nCacheDefaultExpire 0\nCacheIgnoreNoLastMod On\n"
    "CacheStoreExpired On\nCacheDetailHeader On\n",
    "normal": DISK + "CacheQuickHandler Off\n",
}

# The origin breaks off, and answers what it did not expect with a status of its own.
PROVOKED = r"\[(proxy|proxy_http|cache|cache_disk):"
MANY = "ThreadsPerChild 64\nMaxSpareThreads 256\nMaxRequestWorkers 256\n"

# mod_cache asks anew for what it stored with our tag by If-None-Match and If-Modified-Since. If-Modified-Since must then
# be ignored (RFC 9110 13.1.3), and the tag is not for the application to judge: it is asked for the whole, which the
# suite's origin refuses with status 999. The date is not asked for instead: a file that was rolled back, or changed
# within the same second, would be confirmed by it.
BY_DATE = {
    "304-lm-use-stored-Test-Header": ["Setup", "request 2 doesn't have if-modified-since header"],
    "conditional-lm-stale": ["Assertion", "Response 2 status is 200, not 304"],
}
# The origin's clock goes back by minutes. Our 304 to the tag is right (RFC 9110 13.1.2); mod_cache takes none that is
# older than what it stored and asks again, as it does with stock httpd where the application has a tag of its own, and
# may (RFC 9110 9.2.2). The client gets the new response, which is what the test is about; a request that comes twice
# is "to be interpreted manually" (the suite's README).
CLOCK_GOES_BACK = {
    "freshness-expires-age-fast-date": ["Setup", "retry"],
    "freshness-expires-old-date": ["Setup", "retry"],
}
RIGHT_ALL_THE_SAME = {"no cache": {}, "quick": {**BY_DATE, **CLOCK_GOES_BACK}, "normal": {**BY_DATE, **CLOCK_GOES_BACK}}


class Origin(Process):
    """The suite's server. What it takes for its port is a socket's path: a port would be open to everybody."""

    name = "origin"

    def __init__(self, folder, suite):
        super().__init__(folder)
        self.suite, self.socket = suite, self.folder / "origin.sock"
        self.environment = {f"npm_package_config_{k}": v for k, v in
                            {"protocol": "http", "port": str(self.socket), "pidfile": "/dev/null"}.items()}

    def argv(self):
        return [machine.program("node"), self.suite / "node_modules" / "http-cache-tests" / "server" / "server.mjs"]

    def ready(self):
        return self.socket.exists()


class Client(Process):
    name = "client"

    def __init__(self, folder, suite, site, tests=()):
        super().__init__(folder)
        self.arguments = [suite / "client.mjs", site.url(""), *tests]

    def argv(self):
        return [machine.program("node"), *self.arguments]

    def results(self):
        assert self.spawn().wait(PATIENCE) == 0, self.tail()
        return json.loads(self.log.read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def suite():
    """A folder with the pinned packages, which the servers' account can enter."""
    try:
        npm = [machine.program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        machine.program("node")
    except FileNotFoundError as e:
        pytest.skip(f"{e} (.ci/deps suites): http-cache-tests cannot be run")
    folder = machine.new_folder()
    for file in PINNED.iterdir():
        shutil.copy(file, folder)
    # Whom this machine trusts, and not node's own list alone: its administrator may have a proxy.
    trusting = {"NODE_EXTRA_CA_CERTS": "/etc/ssl/certs/ca-certificates.crt", **os.environ}
    done = subprocess.run(npm, cwd=folder, text=True, capture_output=True, timeout=300, env=trusting)
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip(f"no npm registry: http-cache-tests cannot be had ({NO_NETWORK.search(done.stderr).group(1)})")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def ask(servers, work, suite):
    """ask(side, cache) -> a function that gives the results of the tests named, or of all."""
    runs = iter(range(1000))

    def make(side, cache):
        origin = servers(Origin, suite).start()
        how = {"own": False} if side == "stock" else {"etagd": servers(Etagd).start()}
        site = servers(Httpd, modules=["proxy", "proxy_http", "cache", "cache_disk"], **how)
        site.expect_log(PROVOKED)
        site.start(MANY + SIDES[side] + CACHES[cache].format(root=machine.own_folder(site.folder, "cache"))
                   + f"ProxyPass / unix:{origin.socket}|http://www.example.com/ disablereuse=On\n")
        return lambda *tests: Client(machine.own_folder(work, f"client{next(runs)}"), suite, site, tests).results()

    return make


def passed(results):
    return {test for test, result in results.items() if result is True}


def worse(ours, stock, right):
    """{test: result} of what stock passes and we do not, but for what is right all the same."""
    return {test: ours[test] for test in passed(stock) - passed(ours) if ours[test] != right.get(test)}


def again(tests, ours, stock, right):
    """Those that are worse at least once more, asked alone: a hundred at a time may last longer than the two seconds
    for which the suite's responses are fresh, on either side."""
    found = {}
    for _ in range(REPEATS if tests else 0):
        found.update(worse(ours(*tests), stock(*tests), right))
    return found


@pytest.mark.parametrize("cache", CACHES)
def test_what_stock_passes(ask, cache, record_property):
    asks = {side: ask(side, cache) for side in SIDES}
    with ThreadPoolExecutor() as pool:
        found = dict(zip(asks, pool.map(lambda a: a(), asks.values())))
    stock, right = found["stock"], RIGHT_ALL_THE_SAME[cache]
    assert len(stock) > 300 and len(passed(stock)) > 100, "the suite has not been run"
    for side in ("on", "early"):
        assert found[side].keys() == stock.keys()
        faults = again(worse(found[side], stock, right), asks[side], asks["stock"], right)
        assert not faults, (side, faults)
        better = sorted(passed(found[side]) - passed(stock))
        record_property("note", f"{side}: {len(passed(found[side]))} of {len(stock)} pass, {len(passed(stock))} with stock"
                        + (f"; only with us: {', '.join(better)}" if better else ""))
