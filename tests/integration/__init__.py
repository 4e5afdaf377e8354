# SPDX-License-Identifier: Apache-2.0

"""Tests against real programs that each starts itself: no practice cloud."""
