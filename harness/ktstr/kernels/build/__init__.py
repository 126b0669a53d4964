# SPDX-License-Identifier: GPL-2.0-only
"""Build kernels and the programs in their source trees."""
