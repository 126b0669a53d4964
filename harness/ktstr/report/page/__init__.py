# SPDX-License-Identifier: GPL-2.0-only
"""A run as a page: what it draws (data), the page in one file (html), and the daemon's (assets)."""
