# SPDX-License-Identifier: Apache-2.0

"""Backups of volumes: which are missing, and making them."""
