# SPDX-License-Identifier: Apache-2.0

"""Tests against the practice cloud."""
