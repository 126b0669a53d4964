# SPDX-License-Identifier: GPL-2.0-only
"""What the compiled scheduler holds: maps with types, knobs that are off."""

import subprocess

STRUCT_OPS, HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY = 26, 1, 2, 5, 6

MAPS = {
    "cpu_ctx_arr": ARRAY,
    "pcpu_stats": PERCPU_ARRAY,
    "dsq_stats": HASH,
    "cgroup_stats": HASH,
    "pid_class": PERCPU_HASH,
    "task_seen": HASH,
    "run_hist": ARRAY,
    "heartbeat_arr": ARRAY,
    "ktstr_ops": STRUCT_OPS,
    "scx_ktst.bss": ARRAY,
    "scx_ktst.data": ARRAY,
    "scx_ktst.rodata": ARRAY,
    ".bss.exit": ARRAY,
}

KNOBS = {
    ".rodata": ["degrade", "scattershot", "scatter_wrong", "direct_idle", "slice_us",
                "fail_init", "fail_verify", "verify_loop", "lost_wakeup"],
    ".bss": ["stall", "stall_after_ms", "crash", "degrade_rt", "exit_after_ms",
             "exit_code_user", "drop_every", "slow_every", "starve_tgid", "starve_cgroup_id",
             "starve_for_ms", "lockup_ms"],
}  # fmt: skip


def rows(done, kind):
    assert done.returncode == 0, done.stdout
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith(kind)]


def test_it_has_a_map_of_every_kind_a_reader_must_know(built, probe):
    found = {name: int(kind) for name, kind, _, _ in rows(probe(built.scheduler), "map")}
    assert found == MAPS


def test_every_map_names_the_types_of_its_keys_and_values(built, probe):
    for name, kind, key, value in rows(probe(built.scheduler), "map"):
        assert int(value), f"{name} has no BTF type for its values"
        section = name.startswith((".", "scx_ktst."))
        assert int(key) or section or int(kind) == STRUCT_OPS, f"{name} has no BTF type for keys"


def test_all_knobs_are_off_and_lie_where_they_can_be_written(built, probe):
    found = {(section, name): value for section, name, value in
             (row for row in rows(probe(built.scheduler), "global") if len(row) == 3)}  # fmt: skip
    for section, names in KNOBS.items():
        assert {name: found.get((section, name)) for name in names} == dict.fromkeys(names, "0")
    assert found[".data", "slow_cpu"] == "-1"
    assert found[".data", "starve_every"] == "64"


def test_the_loader_is_static_and_the_scheduler_has_btf(built):
    headers = subprocess.run(
        ["readelf", "-lW", built.loader], capture_output=True, text=True, check=True
    ).stdout
    assert "INTERP" not in headers and "DYNAMIC" not in headers
    sections = subprocess.run(
        ["readelf", "-SW", built.scheduler], capture_output=True, text=True, check=True
    ).stdout
    assert " .BTF " in sections and ".BTF.ext" in sections and ".struct_ops.link" in sections
