# SPDX-License-Identifier: Apache-2.0

"""What it means: who is to run again, what is broken, and the safe fix."""
