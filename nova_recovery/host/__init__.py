# SPDX-License-Identifier: Apache-2.0

"""One machine seen from itself, with the standard library only.

Nothing here needs the rest of the package's dependencies, so that it can be
sent to a compute host.
"""
