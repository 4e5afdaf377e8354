# SPDX-License-Identifier: Apache-2.0

"""A power loss on one canary: what is taken from it, and how it comes back."""
