# SPDX-License-Identifier: Apache-2.0

"""What to do: the five steps and their gates. Pure functions."""
