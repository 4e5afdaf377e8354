# SPDX-License-Identifier: Apache-2.0

"""Guests seen from inside, over the operator's own OpenSSH."""
