# SPDX-License-Identifier: GPL-2.0-only
"""The service that owns a host's VMs: a queue, runs in processes of their own, HTTP."""
