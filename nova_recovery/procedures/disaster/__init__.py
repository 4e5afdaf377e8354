# SPDX-License-Identifier: Apache-2.0

"""A whole cloud, after its power went."""
