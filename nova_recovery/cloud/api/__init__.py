# SPDX-License-Identifier: Apache-2.0

"""The APIs of nova, cinder, neutron and placement, as far as used here."""
