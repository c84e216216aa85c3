# SPDX-License-Identifier: Apache-2.0
"""Checks over the sources. Each module has check(tree), a list of complaints, and plant(tree), the same
tree with a fault in it: a guard that lets its own planted fault pass counts as failed.
"""
