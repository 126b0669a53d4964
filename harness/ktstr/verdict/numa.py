# SPDX-License-Identifier: GPL-2.0-only
"""Where one cgroup's memory is (reference-04, 2.2; reference-06, 14).

Pages are those the workers had at their end, summed over them: each has an address space of its
own. Locality without any page is zero: that the workers have memory where it should be is what is
asked for. The other two are ratios whose denominator the instrument gives, so that without a page
there is nothing to judge.
"""

from collections.abc import Collection

from ktstr.telemetry.cgroup import pages_on
from ktstr.telemetry.vectors import saturating_sum
from ktstr.verdict.detail import DetailKind
from ktstr.verdict.subject import Found, Group, cpu_list


def knows_its_nodes(group: Group) -> bool:
    """Whether anybody said which nodes the memory should be on."""
    return group.key in group.around.expected_nodes


def page_locality(group: Group, floor: float) -> Found:
    """At least ``floor`` of the pages are on the expected nodes."""
    expected = group.around.expected_nodes[group.key]
    total, local = _pages(group), pages_on(group.reports, expected)
    locality = local / total if total else 0.0
    if locality < floor:
        yield group.fail(
            DetailKind.PAGE_LOCALITY,
            f"page locality {locality:.4f} below floor {floor:g} "
            f"({local} of {total} pages on nodes {cpu_list(expected)})",
        )
    else:
        yield group.confirm("page_locality", "ge", f"{locality:.4f}", f"{floor:g}")


def cross_node_migration(group: Group, limit: float) -> Found:
    """At most ``limit`` pages were moved between nodes per page there is.

    The kernel's counter is system-wide and every worker reads it, so the largest reading counts.
    """
    total = _pages(group)
    moved = max(report.vmstat_numa_pages_migrated for report in group.reports)
    yield from _ratio(
        group,
        DetailKind.CROSS_NODE_MIGRATION,
        ("cross-node migration ratio", "cross_node_migration_ratio"),
        (moved, total),
        limit,
        f"{moved} pages migrated, {total} resident",
    )


def slow_tier(group: Group, limit: float) -> Found:
    """At most ``limit`` of the pages are on memory-only nodes that are not expected."""
    expected: Collection[int] = group.around.expected_nodes.get(group.key, frozenset())
    slow = frozenset(group.around.memory_only_nodes) - frozenset(expected)
    total, there = _pages(group), pages_on(group.reports, slow)
    yield from _ratio(
        group,
        DetailKind.SLOW_TIER,
        ("slow-tier ratio", "slow_tier_ratio"),
        (there, total),
        limit,
        f"{there} of {total} pages on memory-only nodes {cpu_list(slow)}",
    )


def _pages(group: Group) -> int:
    return saturating_sum(sum(report.numa_pages.values()) for report in group.reports)


def _ratio(
    group: Group,
    kind: DetailKind,
    names: tuple[str, str],
    parts: tuple[int, int],
    limit: float,
    basis: str,
) -> Found:
    (words, name), (part, total) = names, parts
    if total == 0:
        yield group.inconclusive(kind, f"{words} not measured: no page was seen")
    elif part / total > limit:
        yield group.fail(kind, f"{words} {part / total:.4f} above limit {limit:g} ({basis})")
    else:
        yield group.confirm(name, "le", f"{part / total:.4f}", f"{limit:g}")
