# SPDX-License-Identifier: GPL-2.0-only
"""The host monitor's readings as data: samples, windows, what looks torn, the report."""
