# SPDX-License-Identifier: Apache-2.0

"""The record of a run for people: text, HTML, JSON."""
