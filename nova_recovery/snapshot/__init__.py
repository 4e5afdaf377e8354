# SPDX-License-Identifier: Apache-2.0

"""What was saved of a healthy cloud, in one file: written, read, compared."""
