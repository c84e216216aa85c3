# SPDX-License-Identifier: Apache-2.0
"""Real servers for the tests and the demo: redis-server, etagd and httpd, private and disposable.

Everything listens on 127.0.0.1 or on unix sockets, runs as an unprivileged account even when root
starts it, is stopped by its own process id, and lives in a temporary folder.
"""
