# SPDX-License-Identifier: Apache-2.0

"""Tests of changes as far as they are pure functions."""
