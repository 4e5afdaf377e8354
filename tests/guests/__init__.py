# SPDX-License-Identifier: Apache-2.0

"""Tiny real guests: Debian's kernel, busybox and dropbear, without KVM."""
