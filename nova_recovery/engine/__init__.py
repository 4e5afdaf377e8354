# SPDX-License-Identifier: Apache-2.0

"""Plans as data, the journal, and how one is carried out by the other."""
