# SPDX-License-Identifier: Apache-2.0

"""One number for nova and libvirt on all hosts: the guide's second one."""
