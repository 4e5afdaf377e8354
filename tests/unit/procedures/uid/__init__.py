# SPDX-License-Identifier: Apache-2.0

"""Tests of one number for each account on all hosts."""
