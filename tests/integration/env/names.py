# SPDX-License-Identifier: Apache-2.0
"""The date of a URL's content as Redis holds it (etagd/entry_text.h), for tests that cannot wait for it to grow old."""
import base64

from .process import wait_for


class Date:
    def __init__(self, redis, host, path):
        self.redis, self.url, self.key = redis, host + path, f"etag:e:http://{host}{path}#m"

    def _read(self):
        """(words of the value, digest, since)"""
        text = wait_for(lambda: self.redis.call("GET", self.key), f"{self.key} in Redis")
        words = (text.decode() if isinstance(text, bytes) else text).split(" ")
        kind, tag = words[3].split(":")
        assert kind == "M", text
        raw = base64.urlsafe_b64decode(tag + "=" * (-len(tag) % 4))
        return words, raw[:32], int.from_bytes(raw[32:], "little", signed=True)

    def _write(self, words, digest, since):
        tag = base64.urlsafe_b64encode(digest + since.to_bytes(8, "little", signed=True)).decode().rstrip("=")
        self.redis.call("SET", self.key, " ".join([*words[:3], f"M:{tag}", *words[4:]]), "KEEPTTL")

    def age(self, by=3600):
        """The content has been there for longer; its date stays."""
        words, digest, since = self._read()
        self._write(words, digest, since - by)

    def move(self, by):
        """Another date for the content, known since then. Returns it, in seconds."""
        words, digest, since = self._read()
        words[5] = str(int(words[5]) + by)
        self._write(words, digest, since + by)
        self.redis.call("XADD", "{etag}:log", "*", "url", self.url)  # the nodes' tables hold the former one
        return int(words[5])
