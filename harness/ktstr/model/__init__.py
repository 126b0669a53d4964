# SPDX-License-Identifier: GPL-2.0-only
"""Scenario definitions: a TOML file becomes typed objects, and those become the guest's plan.

``ktstr.model.scenario`` reads and checks a file, ``ktstr.model.plan`` turns the result into plain
data. Import those modules by name: they load pydantic, which costs a command line its start-up
time and has no place in the guest. ``ktstr.model.ops`` needs nothing but the interpreter.
"""
