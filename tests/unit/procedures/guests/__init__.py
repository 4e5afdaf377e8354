# SPDX-License-Identifier: Apache-2.0

"""Tests of the recovery of dead hosts."""
