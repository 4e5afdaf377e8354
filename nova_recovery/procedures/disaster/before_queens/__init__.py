# SPDX-License-Identifier: Apache-2.0

"""Step 2 in its literal form, for clouds from before Queens."""
