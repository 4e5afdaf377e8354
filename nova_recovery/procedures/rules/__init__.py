# SPDX-License-Identifier: Apache-2.0

"""Packet-filter rules of hosts: kept in a file, compared, restored."""
