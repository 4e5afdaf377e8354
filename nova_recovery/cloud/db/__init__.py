# SPDX-License-Identifier: Apache-2.0

"""The databases: how they are opened, read, and changed a row at a time."""
