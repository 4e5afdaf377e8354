# SPDX-License-Identifier: Apache-2.0

"""Drivers that are copied into nova and cinder of the practice cloud."""
