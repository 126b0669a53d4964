# SPDX-License-Identifier: GPL-2.0-only
"""What this host can do for scheduler tests, and the one command that mends each gap."""
