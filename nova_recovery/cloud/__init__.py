# SPDX-License-Identifier: Apache-2.0

"""OpenStack seen from here: databases, cells and APIs."""
