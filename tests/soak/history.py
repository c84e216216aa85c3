# SPDX-License-Identifier: Apache-2.0
"""What was current when, and the judge of every answer.

Contents of a page are numbered. A content's *span* begins when the application (or a file's rename) makes it
current, and has ended once the invalidation that covers it was acknowledged by Redis. All moments are
CLOCK_MONOTONIC of this machine: one clock for the invalidations, the requests and the answers. A request counts
from before it was sent and an acknowledgement from after it was read, so whatever delays this program makes the
judge milder, never wrong.
"""
import collections
import contextlib
import hashlib
import threading
import time

TOLERANCE = 0.05  # of clocks and of rounding to milliseconds
STORY = 24        # events of a place told with a violation
RECENT = 10.0     # a tag that died longer ago than this is no longer a chance to be stale


class Span:
    def __init__(self, version):
        self.version = version
        self.begun = time.monotonic()
        self.superseded = None  # when another content took its place
        self.ended = None       # when that was acknowledged
        self.ended_on = {}      # node -> when a write answered by it said so

    def deadline(self, node, bound):
        """The last moment at which node may confirm it; None: it may. What it has ended itself it never may again."""
        moments = [self.ended_on.get(node), None if self.ended is None else self.ended + bound]
        return min((m for m in moments if m is not None), default=None)


class Violation:
    def __init__(self, kind, text, story):
        self.kind, self.text, self.story = kind, text, story

    def __str__(self):
        return f"{self.kind}: {self.text}"


class History:
    def __init__(self, lease):
        self.lease = lease
        self.lock = threading.RLock()
        self.spans = {}          # place -> spans, the oldest first
        self.exact = set()       # places whose contents end at once: files, each node's own
        self.content_of = {}     # strong tag -> digest of the bytes and their type
        self.tag_of = {}         # the other way round
        self.version_of = {}     # (place, tag) -> version
        self.tags = {}           # place -> {version: tag}
        self.losses = []         # (before, after) a loss of the history of invalidations, for whatever reason
        self.violations = []
        self.counts = collections.Counter()
        self.events = collections.deque(maxlen=2000)  # (when, place or "", what): for who must explain a violation
        self.stalest = 0.0       # the longest that a dead tag was confirmed after its end
        self.begun = time.monotonic()

    def violate(self, kind, text, place=None):
        self.violations.append(Violation(kind, f"{time.monotonic() - self.begun:.3f} s: {text}", self._story(place)))

    def note(self, place, what):
        self.events.append((time.monotonic(), place, what))

    def _story(self, place):
        """What happened to a place, and the faults of that time."""
        told = [e for e in list(self.events) if e[1] == place][-STORY:] if place else []
        since = told[0][0] - 3 if told else 0
        told += [e for e in list(self.events) if e[1] == "" and e[0] >= since] if told else []
        return [f"{when - self.begun:.3f} s: {what}" for when, _, what in sorted(told)]

    # ---- what happens ----

    def begins(self, place, version):
        """A content becomes current: called before anybody can be given it."""
        with self.lock:
            spans = self.spans.setdefault(place, [])
            if spans:
                spans[-1].superseded = time.monotonic()
            spans.append(Span(version))
            self.note(place, f"content {version} is current")

    def ended(self, places, began, at):
        """An invalidation of places, sent at began, was acknowledged at this moment."""
        with self.lock:
            for place in places:
                for span in reversed(self.spans.get(place, [])):
                    if span.ended is not None:
                        break  # and so have all that are older
                    if span.superseded is not None and span.superseded <= began:
                        span.ended = at
                        self.note(place, f"the end of content {span.version} is acknowledged")
        self.counts["acknowledged"] += 1

    def ended_on(self, node, place, version, at):
        """A write that ended this version was answered by node."""
        with self.lock:
            for span in self.spans[place]:
                if span.version == version and span.superseded is not None:
                    span.ended_on[node] = at

    @contextlib.contextmanager
    def loss(self):
        """What is done here loses the history of invalidations, if it is done."""
        before = time.monotonic()
        yield
        self.note("", "history is lost")
        with self.lock:
            self.losses.append((before, time.monotonic()))

    # ---- what is known ----

    def current(self, place):
        with self.lock:
            return self.spans[place][-1].version

    def age(self, place):
        """Seconds since the last change."""
        with self.lock:
            return time.monotonic() - self.spans[place][-1].begun

    def known_tag(self, place, version):
        with self.lock:
            return self.tags.get(place, {}).get(version)

    def dead_tags(self, place):
        """Tags of former contents, the last one first."""
        with self.lock:
            known = self.tags.get(place, {})
            now = self.spans[place][-1].version
            versions = dict.fromkeys(s.version for s in reversed(self.spans[place][-8:]) if s.version != now)
            return [known[v] for v in versions if v in known]

    def _latest(self, place, tag, moment):
        """The latest of a moment of each span of this tag; None: one has none. 0: nobody ever saw it here."""
        with self.lock:
            version = self.version_of.get((place, tag))
            moments = [moment(s) for s in self.spans[place] if s.version == version]
        return None if None in moments else max(moments, default=0.0)

    def end_of(self, place, tag):
        """When the end of this tag was acknowledged; None: it may be current."""
        return self._latest(place, tag, lambda s: s.ended)

    def deadline(self, place, tag, node):
        return self._latest(place, tag, lambda s: s.deadline(node, self.bound(place)))

    def bound(self, place):
        return 0.0 if place in self.exact else self.lease + TOLERANCE

    # ---- the judge ----

    def offered(self, place, tag, began):
        """Counts a chance to be stale: a request with a tag whose end was acknowledged not long before."""
        end = self.end_of(place, tag)
        if end is None or not end <= began <= end + RECENT:
            return
        self.counts["chances"] += 1
        if began > end + self.bound(place):
            self.counts["chances after the bound"] += 1

    def served(self, node, place, version, tag, body, kind):
        """A complete response: version is what its body says."""
        if not tag:
            self.counts["without a tag"] += 1
            return
        self.counts["tagged"] += 1
        self.note(place, f"{node} serves content {version} with {tag}")
        content = hashlib.sha256(body).digest() + kind.encode()
        with self.lock:
            if tag.startswith("W/"):
                return
            if self.content_of.setdefault(tag, content) != content:
                self.violate("same tag, other bytes", f"{node} {place} {tag}")
            if self.tag_of.setdefault(content, tag) != tag:
                self.violate("other tag, same bytes", f"{node} {place} {tag}, not {self.tag_of[content]}")
            self.version_of[place, tag] = version
            self.tags.setdefault(place, {})[version] = tag

    def confirmed(self, node, place, tag, began, early, asked):
        """A 304 (or a write let through) that says: this tag is current. asked: when the application last was."""
        self.counts["confirmed early" if early else "confirmed"] += 1
        end, deadline = self.end_of(place, tag), self.deadline(place, tag, node)
        if end is not None and began > end:
            self.counts["confirmed after their end"] += 1
            self.stalest = max(self.stalest, began - end)
        if deadline is not None and began > deadline:
            self.violate("stale", f"{node} {place} {tag} was confirmed {'early ' if early else ''}"
                                  f"{began - deadline:.3f} s later than it may be", place)
        if early and asked is not None:
            self._from_this_epoch(node, place, tag, began, asked)

    def _from_this_epoch(self, node, place, tag, began, asked):
        """An early answer was learned from the application after the last loss of history."""
        with self.lock:
            lost = max((before for before, after in self.losses if after + self.bound(place) < began), default=None)
        if lost is not None and asked <= lost:
            self.violate("dead epoch", f"{node} {place} {tag}: learned {lost - asked:.3f} s before history was lost, "
                                       f"{began - lost:.3f} s ago", place)
