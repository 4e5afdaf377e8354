# SPDX-License-Identifier: Apache-2.0

"""What is: the cloud, its hosts and its snapshot, read and not judged."""
