# SPDX-License-Identifier: Apache-2.0

"""The servers of a dead host run again on another."""
