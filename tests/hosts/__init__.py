# SPDX-License-Identifier: Apache-2.0

"""Beds: compute hosts with systemd, sshd and libvirtd, in containers."""
