"""Threads by the processor time that control groups allow, from files as Linux shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loqa._native import core

V1 = "12:cpuset:/\n4:cpu,cpuacct:{}\n3:memory:/elsewhere\n"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def cpus(root: Path, groups: str, files: dict[str, str]) -> int:
    """What `core.cgroup_cpus` reads below `root` of these files of /sys/fs/cgroup."""
    texts = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": groups, **texts}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return int(core.cgroup_cpus(str(root)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),  # rounded up
        ("100001 100000\n", 2),
        ("20000 100000\n", 1),
        ("max 100000\n", 0),
        ("", 0),
        ("9223372036854775807 1\n", 0),
    ],
)
def test_version_2(tmp_path: Path, text: str, expected: int) -> None:
    assert cpus(tmp_path, "0::/user/job\n", {"user/job/cpu.max": text}) == expected


def test_the_least_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"}
    assert cpus(tmp_path, "0::/a/b/c\n", files) == 3
    assert cpus(tmp_path, "0::/a/b/c\n", files | {"a/cpu.max": "100000 50000"}) == 2
    assert cpus(tmp_path, "0::/a/b/c\n", files | {"a/b/c/cpu.max": "50000 50000"}) == 1


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, mount: str) -> None:
    files = {f"{mount}/job/{QUOTA}": "400000\n", f"{mount}/job/{PERIOD}": "100000\n"}
    assert cpus(tmp_path, V1.format("/job"), files) == 4
    assert cpus(tmp_path, V1.format("/job"), files | {f"{mount}/job/{QUOTA}": "-1\n"}) == 0


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert cpus(tmp_path, "0::/docker/0123\n", {"cpu.max": "500000 100000"}) == 5
    one = {f"cpu,cpuacct/{QUOTA}": "150000", f"cpu,cpuacct/{PERIOD}": "50000"}
    assert cpus(tmp_path / "1", V1.format("/docker/0123"), one) == 3


def test_no_groups(tmp_path: Path) -> None:
    assert core.cgroup_cpus(str(tmp_path)) == 0
    assert cpus(tmp_path, "nonsense\n", {}) == 0


def test_threads_are_within_the_quota() -> None:
    quota = core.cgroup_cpus("")
    assert quota == 0 or core.default_num_threads() <= quota
