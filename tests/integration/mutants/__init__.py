# SPDX-License-Identifier: Apache-2.0
"""Modules with one rule of RFC 9110 dropped or turned round, for tests that must then fail."""
