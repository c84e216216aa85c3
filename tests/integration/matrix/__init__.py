# SPDX-License-Identifier: Apache-2.0
"""The matrix of conditional requests: cases from the tables in ../cases, sent to real servers, judged by an oracle.

oracle.py says what RFC 9110 asks, cases.py makes requests of the tables, site.py runs the servers and says who judges
what there, wire.py and h2wire.py send and read, judge.py compares.
"""
