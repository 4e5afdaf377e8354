# SPDX-License-Identifier: Apache-2.0

"""Tests of what the procedures decide; pure functions, no cloud."""
