//! What a running container uses, as one stream that stays open: the engine measures once a second.

use bollard::{
    models::{ContainerCpuStats, ContainerStatsResponse},
    query_parameters::StatsOptions,
};
use futures_util::{Stream, StreamExt as _};

use super::{Engine, error::translate};
use crate::error::Result;

/// What a container used at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processors in use since the moment before, such as 1.5; `None` in the first second.
    pub cpus: Option<f64>,
    /// Processors of the engine's machine; 0 where it does not say.
    pub cpus_there: u32,
    /// Memory in bytes, without what the kernel can take back at once.
    pub memory: u64,
    /// Memory limit in bytes: the container's, else the machine's; 0 where the engine does not say.
    pub memory_limit: u64,
}

impl Engine {
    /// What a container uses, about once a second. Ends when it does not run any more. Says nothing where the
    /// engine cannot measure: it tells zeros then, whose time is the year 1.
    pub fn usage(&self, name: &str) -> impl Stream<Item = Result<Usage>> + Send + use<> {
        let call = format!("measure {name}");
        let options = StatsOptions { stream: true, one_shot: false };
        self.docker.stats(name, Some(options)).filter_map(move |stats| {
            std::future::ready(match stats {
                Ok(stats) => usage(&stats).map(Ok),
                Err(e) => Some(Err(translate(&call, e))),
            })
        })
    }
}

/// `None` where nothing was measured.
fn usage(stats: &ContainerStatsResponse) -> Option<Usage> {
    let memory = stats.memory_stats.as_ref();
    memory.and_then(|memory| memory.usage)?;
    // Pages of files that were read once count as used and are given back on demand; v1 and v2 of
    // cgroups name them differently. `docker stats` takes them away, too.
    let cache = memory.and_then(|m| m.stats.as_ref()).and_then(|stats| {
        let names = ["total_inactive_file", "inactive_file"];
        names.iter().find_map(|name| stats.get(*name)).copied()
    });
    Some(Usage {
        cpus: cpus(stats.precpu_stats.as_ref(), stats.cpu_stats.as_ref()),
        cpus_there: stats.cpu_stats.as_ref().and_then(|cpu| cpu.online_cpus).unwrap_or(0),
        memory: memory.and_then(|m| m.usage).unwrap_or(0).saturating_sub(cache.unwrap_or(0)),
        memory_limit: memory.and_then(|m| m.limit).unwrap_or(0),
    })
}

/// Processors in use between two moments: the container's share of the machine's time.
fn cpus(before: Option<&ContainerCpuStats>, now: Option<&ContainerCpuStats>) -> Option<f64> {
    let total = |cpu: &ContainerCpuStats| cpu.cpu_usage.as_ref()?.total_usage;
    let (before, now) = (before?, now?);
    let used = total(now)?.checked_sub(total(before)?)?;
    let passed = now.system_cpu_usage?.checked_sub(before.system_cpu_usage?)?;
    #[allow(clippy::cast_precision_loss)] // nanoseconds of a second or so
    let share = used as f64 / passed as f64;
    (passed > 0).then(|| share * f64::from(now.online_cpus.unwrap_or(1).max(1)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn measured(json: &serde_json::Value) -> Option<Usage> {
        usage(&serde_json::from_value(json.clone()).unwrap())
    }

    #[test]
    fn what_engines_measure_is_understood() {
        // Both generations of cgroups; in a second of two processors, half of one was used.
        for cache in ["total_inactive_file", "inactive_file"] {
            let stats = serde_json::json!({
                "read": "2026-11-21T08:00:01.000000001Z", "preread": "2026-11-21T08:00:00Z",
                "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000u64}, "system_cpu_usage": 12_000_000_000u64, "online_cpus": 2},
                "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000u64}, "system_cpu_usage": 10_000_000_000u64},
                "memory_stats": {"usage": 1000, "limit": 4000, "stats": {cache: 300}}});
            let wanted = Usage { cpus: Some(0.5), cpus_there: 2, memory: 700, memory_limit: 4000 };
            assert_eq!(measured(&stats), Some(wanted));
        }
    }

    #[test]
    fn a_first_moment_has_no_load_and_an_empty_one_is_none() {
        let first = serde_json::json!({
            "read": "2026-11-21T08:00:01Z", "preread": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 7, "online_cpus": 1},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {"usage": 7}});
        assert_eq!(measured(&first), Some(Usage { cpus_there: 1, memory: 7, ..Usage::default() }));
        let nothing = serde_json::json!({
            "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}});
        assert_eq!(measured(&nothing), None);
        assert_eq!(measured(&serde_json::json!({})), None);
    }
}
