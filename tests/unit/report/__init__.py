# SPDX-License-Identifier: Apache-2.0

"""Tests of single modules; they need no service and no network."""
