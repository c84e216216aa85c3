# SPDX-License-Identifier: Apache-2.0
"""A 304 for static files, ours against stock FileETag Digest, which hashes the file for every request."""
import load
from files_304 import CONNECTIONS, Side, both, interleave
from report import Figure

NAME = "static-digest"
TITLE = "304 for a static file, ours against stock FileETag Digest"
SIZES = (("2 kB", 2 << 10, 1.1), ("100 kB", 100 << 10, 6), ("10 MB", 10 << 20, 500))
ROUNDS, QUICK_ROUNDS = 8, 2
SECONDS, SECONDS_LARGE = 1, 2


def measure(bench):
    client = load.client_cpu()
    cpus = {client} if client is not None else None
    figures = []
    for label, size, bar in SIZES:
        ours, stock, path = both(bench, "Digest", f"file{size}.bin", size)
        sides = [Side(bench, server, f"/{path.name}") for server in (ours, stock)]
        seconds = SECONDS if size < 1 << 20 else SECONDS_LARGE
        for side in sides:
            side.run(1, cpus)
        a, b = interleave(bench.rounds(ROUNDS, QUICK_ROUNDS), *(lambda s=s: s.run(seconds, cpus) for s in sides))
        figure = Figure(f"{label}: requests per second, ours / stock", [x.rate / y.rate for x, y in zip(a, b)],
                        (">=", bar), rounds="ABBA pairs")
        for name, loads in (("ours", a), ("stock", b)):
            figure.facts.append(f"{name}: {bench.spread([x.rate for x in loads])} a second")
        figures.append(figure)
        bench.stop(ours, stock)
    figures[0].facts.append(f"{CONNECTIONS} connections kept alive, wrk on a processor of its own:"
                            f" {'yes' if cpus else 'no'}")
    return figures
