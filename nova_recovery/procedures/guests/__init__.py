# SPDX-License-Identifier: Apache-2.0

"""Guests that are rebooted from inside, alone or after a disaster."""
