# SPDX-License-Identifier: Apache-2.0
"""The application behind ProxyPass: pages in groups, whose contents the history knows and changes."""
import collections
import random
import threading
import time

from env.backend import Backend, answer

GROUPS, PAGES = 4, 8
TYPE = "text/plain"


def pages():
    return [f"/app/g{g}/p{p}" for g in range(GROUPS) for p in range(PAGES)]


def labels(page):
    """Its group's label and its own."""
    group, number = page.split("/")[2:]
    return [group, f"{group}{number}"]


def body_of(place, version):
    return f"{place} {version}\n".encode() + b"x" * (100 + version % 7 * 40)


def version_in(body):
    """(place, version) that a body says it is."""
    place, version = body.split(b"\n", 1)[0].decode().split(" ")
    return place, int(version)


class Application(Backend):
    """Reads its content at the beginning of a request; now and then the answer takes its time."""

    def __init__(self, history, seed):
        super().__init__()
        self.history = history
        self.random = random.Random(f"{seed} application")
        self.slow = 0.1  # of the requests are answered late
        self.changing = threading.Lock()
        self.newest = dict.fromkeys(pages(), 1)
        self.asked = dict.fromkeys(pages(), 0.0)  # when each page was last asked for
        self.ids = collections.OrderedDict()      # the last requests that arrived
        for page in pages():
            history.begins(page, 1)

    def change(self, page, back=False):
        """Makes another content current, or the one before again; returns its version."""
        with self.changing:
            now = self.history.current(page)
            if back and now > 1:
                version = now - 1
            else:
                self.newest[page] += 1
                version = self.newest[page]
            self.history.begins(page, version)
            return version

    # Backend's part

    def note(self, request):
        with self.lock:
            self.ids[request.header("X-Request")] = True
            while len(self.ids) > 4096:
                self.ids.popitem(last=False)

    def saw(self, number):
        with self.lock:
            return number in self.ids

    def route(self, request):
        page = request.target.split("?")[0]
        if page not in self.newest:
            return None
        return self.write if request.method == "PUT" else self.read

    def read(self, request, send):
        page = request.target.split("?")[0]
        self.asked[page] = time.monotonic()
        version = self.history.current(page)
        if self.random.random() < self.slow:
            time.sleep(self.random.choice([0.005, 0.05, 0.3]))  # a handler that takes its time
        send(answer(body_of(page, version), {"Content-Type": TYPE, "Surrogate-Key": " ".join(labels(page))},
                    request=request))
        return True

    def write(self, request, send):
        self.change(request.target)
        send(answer(status=204))
        return True
