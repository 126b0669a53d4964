# SPDX-License-Identifier: GPL-2.0-only
"""The four axes a series is projected along: BPF, statistics, host, monitor."""
