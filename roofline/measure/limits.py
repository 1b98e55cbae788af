"""What a process may use of a machine: the hypervisor and container around it, its share of CPUs and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline.measure import lscpu
from roofline.measure.fields import blocks, cpus, one_line, pairs, size, whole
from roofline.measure.source import Source

CGROUPS = "/sys/fs/cgroup"
UNLIMITED = 1 << 62  # cgroup v1 writes the largest multiple of a page for no limit
DEEPEST = 32  # levels of cgroups looked at

# Words of the DMI and what runs behind them; systemd-detect-virt(1) tells the same machines apart by them.
_HYPERVISORS = {
    "kvm": "kvm",
    "qemu": "kvm",
    "openstack": "kvm",
    "google compute engine": "kvm",
    "amazon ec2": "kvm",
    "vmware": "vmware",
    "virtualbox": "virtualbox",
    "innotek": "virtualbox",
    "xen": "xen",
    "microsoft corporation virtual machine": "microsoft",
    "parallels": "parallels",
    "bochs": "bochs",
    "apple virtualization": "apple",
}


def hypervisor(source: Source, board: str) -> str:
    """'kvm', 'vmware', 'xen', 'microsoft', …; '' on the bare machine. 'hypervisor' where it does not say which."""
    if "microsoft" in (source.text("/proc/version") or "").lower():
        return "wsl"
    if word := lscpu.hypervisor(source.command("lscpu") or ""):
        return word
    if word := one_line(source.text("/sys/hypervisor/type"), 40):
        return word
    flagged = any("hypervisor" in table.get("flags", "").split() for table in blocks(source.text("/proc/cpuinfo"))[:1])
    name = board.lower()
    known = next((word for text, word in _HYPERVISORS.items() if text in name), "")
    if name.endswith(".metal") or ".metal-" in name:  # a whole machine of EC2
        known = ""
    return known or ("hypervisor" if flagged else "")


def container(source: Source) -> str:
    """'docker', 'podman', 'lxc', 'kubernetes', or '' outside of one."""
    paths = f"{source.text('/proc/1/cgroup') or ''}\n{source.text('/proc/self/cgroup') or ''}"
    names = source.names("/")
    if "kubepods" in paths or source.names("/var/run/secrets/kubernetes.io"):
        return "kubernetes"
    if "containerenv" in " ".join(source.names("/run")) or "libpod" in paths:
        return "podman"
    if "docker" in paths:
        return "docker"
    if re.search(r"/lxc[./]", paths) or "lxcfs" in (source.text("/proc/mounts") or ""):
        return "lxc"
    # An image that was unpacked onto a disk keeps the file, and is no container.
    return "docker" if ".dockerenv" in names and not _root_is_a_disk(source) else ""


def _root_is_a_disk(source: Source) -> bool:
    for line in (source.text("/proc/mounts") or "").splitlines():
        device, _, rest = line.partition(" ")
        folder, _, rest = rest.partition(" ")
        if folder == "/":
            return device.startswith("/dev/") and rest.split(" ")[0] in ("ext4", "ext3", "xfs")
    return False


def cpu_limit(source: Source) -> float | None:
    """CPUs that the affinity and the cgroups' quotas leave to this process; None where neither is told."""
    allowed = cpus(pairs(source.text("/proc/self/status")).get("cpus_allowed_list"))
    quotas = [*_v2_quotas(source), *_v1_quotas(source)]
    limits = [float(len(allowed)), *quotas] if allowed else quotas
    return min(limits, default=None)


def memory_limit(source: Source, memory_bytes: int | None) -> int | None:
    """The smallest limit of the cgroups around this process [B]; None where none is below the machine's memory."""
    limits = []
    for folder in _folders(source, "", ""):
        limits.append(size(source.text(f"{folder}/memory.max")))
    for folder in _folders(source, "memory", "memory"):
        limits.append(size(source.text(f"{folder}/memory.limit_in_bytes")))
    known = [limit for limit in limits if limit is not None and limit < (memory_bytes or UNLIMITED)]
    return min(known, default=None)


def _v2_quotas(source: Source) -> Iterator[float]:
    """'200000 100000' in cpu.max is 200 ms of every 100 ms: 2 CPUs; 'max' is no limit."""
    for folder in _folders(source, "", ""):
        words = (source.text(f"{folder}/cpu.max") or "").split()
        if len(words) == 2:
            yield from _ratio(words[0], words[1])


def _v1_quotas(source: Source) -> Iterator[float]:
    for folder in _folders(source, "cpu", "cpu"):
        quota, period = (source.text(f"{folder}/cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
        yield from _ratio(quota, period)


def _ratio(quota: str, period: str) -> Iterator[float]:
    above, below = whole(quota), whole(period)
    if above is not None and below is not None and above > 0 and below > 0:  # v1 writes −1 for no quota
        yield above / below


def _folders(source: Source, controller: str, mount: str) -> Iterator[str]:
    """The folders of this process' cgroup and all above it; controller: of version 1, '' for version 2.

    Inside a container the path is often the host's and missing here, while the root is the container's own group.
    """
    for line in (source.text("/proc/self/cgroup") or "0::/").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller and controller not in controllers.split(","):
            continue
        if not controller and (number != "0" or controllers):
            continue
        mounts = (
            [CGROUPS, f"{CGROUPS}/unified"] if not controller else [f"{CGROUPS}/{mount}", f"{CGROUPS}/{controllers}"]
        )
        parts = [part for part in path.strip().split("/") if part not in ("", ".", "..")][:DEEPEST]
        for root in dict.fromkeys(mounts):
            for depth in range(len(parts), -1, -1):
                yield "/".join([root, *parts[:depth]])
        return
    if controller:
        yield f"{CGROUPS}/{mount}"
