# SPDX-License-Identifier: Apache-2.0

"""Recovery of an OpenStack compute service from failed hosts."""
