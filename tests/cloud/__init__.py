# SPDX-License-Identifier: Apache-2.0

"""The practice cloud: real OpenStack services on loopback, for tests."""
