//! What the figures were measured on.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::SystemTime;

/// The machine and the moment, one fact a line.
pub fn facts() -> Vec<(&'static str, String)> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':'));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let virtual_machine = field("/proc/cpuinfo", "flags")
        .split(' ')
        .any(|flag| flag == "hypervisor");
    let cores = fs::read_dir("/sys/devices/system/cpu").map_or(0, |entries| {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let number = |name: &str| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        names.filter(|name| number(name)).count()
    });
    let cores = cores.max(available_parallelism().map_or(1, usize::from));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Behind the version stands what whoever built it calls it.
    let kernel = kernel.split('-').next().unwrap_or_default();
    vec![
        (
            "date",
            humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ),
        (
            "machine",
            format!(
                "{}, {cores} cores{}, {} of memory",
                field("/proc/cpuinfo", "model name"),
                if virtual_machine { ", virtual" } else { "" },
                field("/proc/meminfo", "MemTotal"),
            ),
        ),
        ("kernel", format!("Linux {}", kernel.trim())),
        ("commit", commit()),
    ]
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short", "HEAD"]) {
        Some(commit)
            if git(&["status", "--porcelain", "--", "runtime"])
                .is_none_or(|changes| changes.is_empty()) =>
        {
            commit
        }
        Some(commit) => format!("{commit} with changes in runtime/"),
        None => "unknown".to_owned(),
    }
}
