# SPDX-License-Identifier: Apache-2.0

"""Tests of changes, each kind by itself.

On the tables of a release, in SQLite; see ``case``.
"""
