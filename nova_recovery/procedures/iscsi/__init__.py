# SPDX-License-Identifier: Apache-2.0

"""iSCSI sessions of hosts: what they are of, one more, one less."""
