//! Child processes.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{task::spawn_blocking, time::timeout};

use super::PATIENCE;

/// A program that ends with the test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`, whose program must be installed.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} is installed: {error}")))
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// The figure that the system calls `name`, in bytes: `VmRSS` for the memory in use, `VmHWM` for the most that ever was.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let figure = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes: u64 = figure.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes << 10
    }

    /// Waits until it ends by itself.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let waiting = spawn_blocking(move || self.0.wait().unwrap().code());
        timeout(PATIENCE, waiting).await.expect("the program ends").unwrap()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // Fails where it has ended, and that is all that is asked for.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that ends with the test, and with it all that it has started: nginx's workers outlive a master that is killed
/// alone. What it prints is thrown away.
pub(crate) struct ProcessGroup(Process);

impl ProcessGroup {
    /// Starts `command`, whose program must be installed.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        Self(Process::start(command))
    }

    /// [`Process::memory`] of the program itself.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        self.0.memory(name)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        kill_process_group(self.0.id(), Signal::KILL).ok();
    }
}
