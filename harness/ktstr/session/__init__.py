# SPDX-License-Identifier: GPL-2.0-only
"""One run, from its definition to its verdict and its record; wires the layers together."""
