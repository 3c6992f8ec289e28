//! The system's resources that a program may use. The only module that reads `/proc` and `/sys`.
//!
//! Several limits can apply at once: the processors of the system, those assigned to this program
//! (affinity), the time that its control group allows, and the time that the parent groups allow.
//! The smallest counts. Unknown values are absent, not zero.

use std::path::Path;

/// Reads a system file; `None` if it doesn't exist. Tests pass tables instead.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Memory in bytes, as far as the system reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of the whole system.
    pub total: Option<u64>,
    /// Memory that the system can still provide without swapping.
    pub available: Option<u64>,
    /// The smallest limit of this program's control groups.
    pub limit: Option<u64>,
    /// Memory that those groups still allow. Cached files don't count: the kernel drops them when
    /// needed.
    pub remaining: Option<u64>,
}

impl Memory {
    /// Bytes that this program may still allocate: the smaller of the system's and the groups'.
    pub fn usable(&self) -> Option<u64> {
        self.available.into_iter().chain(self.remaining).min()
    }
}

/// Number of threads that can run at the same time, at least 1: the processors that this program
/// may run on, or its control group's quota, rounded up.
pub fn cores() -> usize {
    let given = affinity()
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    cores_of(given, cpu_quota())
}

fn cores_of(given: usize, quota: Option<f64>) -> usize {
    // A quota is positive and small; a float's `as` saturates.
    given
        .min(quota.map_or(usize::MAX, |quota| quota.ceil() as usize))
        .max(1)
}

/// Processors that this program may run on.
pub fn affinity() -> Option<usize> {
    count_listed(field(&read("/proc/self/status")?, "Cpus_allowed_list:")?)
}

/// Processor time that the control groups allow, in processors, if they limit it.
pub fn cpu_quota() -> Option<f64> {
    Groups::locate("cpu", &read)?.least(&read, quota_of)
}

/// The system's memory.
pub fn memory() -> Memory {
    memory_by(&read)
}

fn memory_by(read: Read<'_>) -> Memory {
    let info = read("/proc/meminfo").unwrap_or_default();
    let groups = Groups::locate("memory", read);
    Memory {
        total: kib(&info, "MemTotal:"),
        available: kib(&info, "MemAvailable:"),
        limit: groups
            .as_ref()
            .and_then(|groups| groups.least(read, limit_of)),
        remaining: groups
            .as_ref()
            .and_then(|groups| groups.least(read, remaining_of)),
    }
}

/// Number of NUMA nodes; 1 if the system reports none.
pub fn numa_nodes() -> usize {
    let nodes = read("/sys/devices/system/node/has_memory")
        .or_else(|| read("/sys/devices/system/node/online"));
    nodes
        .and_then(|list| count_listed(&list))
        .unwrap_or(1)
        .max(1)
}

/// Bytes of memory that this program uses.
pub fn resident() -> Option<u64> {
    kib(&read("/proc/self/status")?, "VmRSS:")
}

/// The peak of [`resident`].
pub fn peak_resident() -> Option<u64> {
    kib(&read("/proc/self/status")?, "VmHWM:")
}

/// Processor time of this program in seconds, all threads together, in steps of a hundredth.
pub fn cpu_seconds() -> Option<f64> {
    cpu_seconds_of(&read("/proc/self/stat")?)
}

fn cpu_seconds_of(stat: &str) -> Option<f64> {
    // The program's name, in brackets, may contain spaces. After it, user and system time are the
    // 12th and 13th field, in ticks, which Linux reports at 100 per second whatever its internal
    // rate.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / 100.0)
}

/// The processor features that determine how fast products are, by their Linux names.
pub fn cpu_flags() -> Vec<String> {
    let mut found: Vec<String> = detected().into_iter().map(str::to_owned).collect();
    // Features that the standard library can't detect yet.
    let listed = flags_of(&read("/proc/cpuinfo").unwrap_or_default());
    found.extend(
        listed
            .into_iter()
            .filter(|flag| !found.contains(flag))
            .collect::<Vec<_>>(),
    );
    found
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<&'static str> {
    let flags = [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        (
            "avx512_bf16",
            std::arch::is_x86_feature_detected!("avx512bf16"),
        ),
        (
            "avx512_vnni",
            std::arch::is_x86_feature_detected!("avx512vnni"),
        ),
    ];
    flags
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<&'static str> {
    let flags = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    flags
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<&'static str> {
    Vec::new()
}

/// Features that are read from a list of flags.
const LISTED: [&str; 3] = ["amx_tile", "amx_bf16", "amx_int8"];

fn flags_of(cpuinfo: &str) -> Vec<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let there: Vec<&str> = line
        .and_then(|line| line.split_once(':'))
        .map_or("", |(_, f)| f)
        .split_whitespace()
        .collect();
    LISTED
        .into_iter()
        .filter(|flag| there.contains(flag))
        .map(str::to_owned)
        .collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(path)).ok()
}

/// The rest of the line that begins with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// The number of elements in a list such as `0-3,8,10-11`.
fn count_listed(list: &str) -> Option<usize> {
    let count = |part: &str| -> Option<usize> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').map(count).sum()
}

/// This program's control groups for one controller, the innermost first.
#[derive(Debug, PartialEq, Eq)]
struct Groups {
    version: Version,
    /// Their folders.
    folders: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Groups {
    /// A system may have both versions; a controller belongs to one of them.
    fn locate(controller: &str, read: Read<'_>) -> Option<Self> {
        let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let path = |wanted: &dyn Fn(&str) -> bool| {
            groups.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                wanted(controllers).then(|| path.to_owned())
            })
        };
        let one = path(&|controllers| controllers.split(',').any(|name| name == controller));
        let (version, path) = match one {
            Some(path) => (Version::One, path),
            None => (Version::Two, path(&str::is_empty)?),
        };
        let (root, point) = mounts
            .lines()
            .find_map(|line| mounted(line, version, controller))?;
        // In a container the mount may show only part of the tree; the path is relative to the root
        // of the whole tree.
        let inside = match path.strip_prefix(root.trim_end_matches('/')) {
            Some(inside) if inside.is_empty() || inside.starts_with('/') => inside,
            _ => "",
        };
        let mut inside = inside.trim_end_matches('/');
        let mut folders = vec![format!("{point}{inside}")];
        while let Some((above, _)) = inside.rsplit_once('/') {
            inside = above;
            folders.push(format!("{point}{inside}"));
        }
        Some(Self { version, folders })
    }

    /// The smallest value that `limit` finds in the groups.
    fn least<T: PartialOrd>(
        &self,
        read: Read<'_>,
        limit: fn(Version, Read<'_>) -> Option<T>,
    ) -> Option<T> {
        let read_limit =
            |folder: &String| limit(self.version, &|file| read(&format!("{folder}/{file}")));
        self.folders
            .iter()
            .filter_map(read_limit)
            .reduce(|least, next| if next < least { next } else { least })
    }
}

/// Root and mount point, if a line of mountinfo is this controller's mount.
fn mounted(line: &str, version: Version, controller: &str) -> Option<(String, String)> {
    let (location, kind) = line.split_once(" - ")?;
    let mut location = location.split(' ').skip(3);
    let (root, point) = (location.next()?, location.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);
    let fits = match version {
        Version::One => name == "cgroup" && options.split(',').any(|option| option == controller),
        Version::Two => name == "cgroup2",
    };
    fits.then(|| (root.to_owned(), point.to_owned()))
}

fn quota_of(version: Version, read: Read<'_>) -> Option<f64> {
    let (quota, period) = match version {
        Version::One => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        Version::Two => {
            let text = read("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
    };
    // -1 or "max" mean no limit.
    let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn limit_of(version: Version, read: Read<'_>) -> Option<u64> {
    let file = match version {
        Version::One => "memory.limit_in_bytes",
        Version::Two => "memory.max",
    };
    // Version 1 writes the largest number of pages if there is no limit.
    read(file)?
        .trim()
        .parse()
        .ok()
        .filter(|limit| *limit < 1 << 60)
}

fn remaining_of(version: Version, read: Read<'_>) -> Option<u64> {
    let limit = limit_of(version, read)?;
    let (usage, files) = match version {
        Version::One => (
            "memory.usage_in_bytes",
            ["total_inactive_file ", "total_active_file "],
        ),
        Version::Two => ("memory.current", ["inactive_file ", "active_file "]),
    };
    let usage: u64 = read(usage)?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let cached: u64 = files
        .iter()
        .filter_map(|name| field(&stat, name)?.parse::<u64>().ok())
        .sum();
    Some(limit.saturating_sub(usage.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MIB: u64 = 1 << 20;

    /// A system made of files.
    fn system(files: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        move |path| files.get(path).cloned()
    }

    const V2: &str = "31 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "41 29 0:18 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                      42 41 0:20 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      43 41 0:21 /docker/abc /sys/fs/cgroup/memory rw master:9 - cgroup cgroup rw,memory\n";

    #[test]
    fn the_smallest_limit_on_the_path_counts() {
        let read = system(&[
            ("/proc/self/cgroup", "0::/jobs/one\n"),
            ("/proc/self/mountinfo", V2),
            (
                "/proc/meminfo",
                "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n",
            ),
            ("/sys/fs/cgroup/jobs/one/memory.max", "max\n"),
            ("/sys/fs/cgroup/jobs/memory.max", "6291456\n"),
            ("/sys/fs/cgroup/jobs/memory.current", "5242880\n"),
            (
                "/sys/fs/cgroup/jobs/memory.stat",
                "anon 1\nfile 3145728\ninactive_file 2097152\nactive_file 1048576\n",
            ),
            ("/sys/fs/cgroup/jobs/one/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/jobs/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "400000 100000\n"),
        ]);
        let memory = memory_by(&read);
        let expected = Memory {
            total: Some(16 * MIB),
            available: Some(8 * MIB),
            limit: Some(6 * MIB),
            remaining: Some(4 * MIB),
        };
        assert_eq!((memory, memory.usable()), (expected, Some(4 * MIB)));
        assert_eq!(
            Groups::locate("cpu", &read).unwrap().least(&read, quota_of),
            Some(1.5)
        );
    }

    #[test]
    fn version_1_limits_are_read_relative_to_the_mounted_root() {
        let read = system(&[
            (
                "/proc/self/cgroup",
                "5:memory:/docker/abc/inner\n4:cpu,cpuacct:/docker/abc\n0::/elsewhere\n",
            ),
            ("/proc/self/mountinfo", V1),
            (
                "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "3145728\n"),
            (
                "/sys/fs/cgroup/memory/memory.stat",
                "total_inactive_file 1048576\ntotal_active_file 0\n",
            ),
            (
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us",
                "-1\n",
            ),
            (
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us",
                "100000\n",
            ),
            (
                "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us",
                "50000\n",
            ),
            (
                "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us",
                "100000\n",
            ),
        ]);
        let memory = memory_by(&read);
        assert_eq!(
            (memory.limit, memory.remaining, memory.usable()),
            (Some(8 * MIB), Some(6 * MIB), Some(6 * MIB))
        );
        assert_eq!(
            Groups::locate("cpu", &read).unwrap().least(&read, quota_of),
            Some(0.5)
        );
    }

    #[test]
    fn a_system_without_information_has_no_limits_and_unknown_memory() {
        let nothing = system(&[]);
        assert_eq!(memory_by(&nothing), Memory::default());
        assert_eq!(memory_by(&nothing).usable(), None);
        assert_eq!(Groups::locate("cpu", &nothing), None);
        // In its own namespace, a program's path may be outside the mount.
        let mounts = V2.replace(" / ", " /jobs ");
        let read = system(&[
            ("/proc/self/cgroup", "0::/../x\n"),
            ("/proc/self/mountinfo", &mounts),
        ]);
        assert_eq!(
            Groups::locate("memory", &read).unwrap().folders,
            ["/sys/fs/cgroup"]
        );
    }

    #[test]
    fn quotas_are_rounded_up_to_at_least_one_core() {
        let cases = [
            (8, None, 8),
            (8, Some(1.5), 2),
            (8, Some(0.2), 1),
            (2, Some(16.0), 2),
            (0, None, 1),
        ];
        for (given, quota, cores) in cases {
            assert_eq!(cores_of(given, quota), cores, "{given} {quota:?}");
        }
    }

    #[test]
    fn lists_of_processors_are_counted() {
        let cases = [
            ("0-3,8,10-11\n", Some(7)),
            ("0", Some(1)),
            ("", None),
            ("3-1", None),
            ("0-18446744073709551615", None),
        ];
        for (list, count) in cases {
            assert_eq!(count_listed(list), count, "{list:?}");
        }
    }

    #[test]
    fn flags_match_whole_words() {
        let info = "processor : 0\nflags\t\t: fpu avx2 amx_tile_not amx_bf16\nbugs : amx_tile\n";
        assert_eq!(flags_of(info), ["amx_bf16"]);
        assert!(flags_of("").is_empty());
    }

    #[test]
    fn processor_time_is_read_after_any_program_name() {
        let stat = "7 (a ) b) R 1 7 7 0 -1 4194304 99 0 0 0 250 31 4 4 20 0 3 0 5 6 7";
        assert_eq!(cpu_seconds_of(stat), Some(2.81));
        assert_eq!(cpu_seconds_of("7 (x) R 1"), None);
    }

    #[test]
    fn reads_the_current_system() {
        assert!((1..=1 << 16).contains(&cores()) && numa_nodes() >= 1);
        if cfg!(target_os = "linux") {
            let memory = memory();
            assert!(memory.usable().unwrap() <= memory.total.unwrap());
            assert!(resident().unwrap() <= peak_resident().unwrap());
            assert!(cpu_seconds().is_some());
        }
    }
}
