# SPDX-License-Identifier: Apache-2.0
"""The demo's small application: pages of products, as a framework without validators would send them.

    application.py PORT

GET /products/N is a page that changes with its revision; /-/edit/N makes a new revision; /-/count says
how many requests for pages have arrived. It knows nothing of ETags.
"""
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
REVISIONS, COUNT = {}, [0]


def page(number, revision):
    rows = "".join(f"<tr><td>{n}<td>{(n * 7919 + int(number)) % 997}</tr>\n" for n in range(400))
    return f"<!doctype html>\n<h1>Product {number}, revision {revision}</h1>\n<table>\n{rows}</table>\n".encode()


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        what, _, number = self.path.lstrip("/").rpartition("/")
        with LOCK:
            if what == "products":
                COUNT[0] += 1
            if what == "-/edit":
                REVISIONS[number] = REVISIONS.get(number, 1) + 1
            revision = REVISIONS.get(number, 1)
            count = COUNT[0]
        if what == "products":
            self.answer(page(number, revision), "text/html; charset=utf-8", number)
        else:
            self.answer(str(count if number == "count" else revision).encode(), "text/plain")

    def answer(self, body, kind, product=None):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if product:
            self.send_header("Surrogate-Key", f"product-{product} products")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
