# SPDX-License-Identifier: Apache-2.0

"""While it is done: before each step, before each request, and the result."""
