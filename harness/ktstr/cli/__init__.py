# SPDX-License-Identifier: GPL-2.0-only
"""Commands. Importing this package loads click and nothing heavier."""
