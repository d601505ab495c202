//! What the kernel says about this process, read anew for each page: the metrics that every Prometheus client has. Only
//! Linux tells them this way; elsewhere they are absent.

use std::{fmt, fs, sync::OnceLock};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Ticks in which `/proc` counts time, a second: part of Linux' interface to programs, whatever the kernel runs at
/// (`USER_HZ`, proc(5)).
const TICKS: f64 = 100.0;

/// Reads `/proc` when it is asked.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// When the machine was started, in Unix time. It does not change, and its file is long.
    booted_at: OnceLock<Option<u64>>,
}

impl Collector for Process {
    #[rustfmt::skip] // One metric a line reads as the table that it is.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let e = &mut encoder;
        if let Some(stat) = Stat::read() {
            counter(e, "process_cpu", "Time of processors used, in user and in kernel mode", Some(&Unit::Seconds), stat.cpu_seconds)?;
            gauge(e, "process_threads", "Threads", None, stat.threads)?;
            gauge(e, "process_virtual_memory", "Addresses in use", Some(&Unit::Bytes), stat.virtual_bytes)?;
            if let Some(booted_at) = *self.booted_at.get_or_init(booted_at) {
                gauge(e, "process_start_time", "When the process was started, in Unix time", Some(&Unit::Seconds), to_f64(booted_at) + stat.started_after)?;
            }
        }
        if let Some(bytes) = resident_bytes() {
            gauge(e, "process_resident_memory", "Memory in use", Some(&Unit::Bytes), bytes)?;
        }
        if let Some(open) = open_files() {
            gauge(e, "process_open_fds", "File descriptors in use", None, open)?;
        }
        if let Some(most) = most_files() {
            gauge(e, "process_max_fds", "File descriptors that may be in use", None, most)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// Of `/proc/self/stat` (proc(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    /// Seconds after the machine.
    started_after: f64,
    virtual_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name, which may hold anything; the third follows its closing bracket.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: to_f64(field(14)? + field(15)?) / TICKS,
            threads: field(20)?,
            started_after: to_f64(field(22)?) / TICKS,
            virtual_bytes: field(23)?,
        })
    }
}

fn booted_at() -> Option<u64> {
    word_after("btime ", &fs::read_to_string("/proc/stat").ok()?)
}

fn resident_bytes() -> Option<u64> {
    let kibibytes = word_after("VmRSS:", &fs::read_to_string("/proc/self/status").ok()?)?;
    Some(kibibytes * 1024)
}

fn most_files() -> Option<u64> {
    word_after("Max open files", &fs::read_to_string("/proc/self/limits").ok()?)
}

fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // Without the one that looks.
    u64::try_from(count).ok()?.checked_sub(1)
}

/// The number that follows `name`, which begins a line.
fn word_after(name: &str, text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "ticks and seconds are far below 2^53")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1200 4096 3 18446744073709551615";
        let stat = Stat { cpu_seconds: 3.0, threads: 5, started_after: 12.0, virtual_bytes: 4096 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_number_is_found_by_the_name_that_begins_its_line() {
        let limits =
            "Limit      Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(word_after("Max open files", limits), Some(1024));
        assert_eq!(word_after("Max open files", "Max open files  unlimited\n"), None);
    }
}
