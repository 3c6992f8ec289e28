//! How the engine says how far it is, and learns that it should stop.

/// Shows progress to a user.
pub trait Progress: Sync {
    /// Says one line: a warning, or a fact about the run.
    fn note(&self, message: &str);

    /// Begins a task of `total` steps; `what` names the steps, such as `windows`.
    fn begin(&self, total: u64, what: &str);

    /// Some more steps of the task are done.
    fn advance(&self, steps: u64);

    /// The task has ended: completely, or because the run stops.
    fn end(&self, complete: bool);

    /// Whether the run should stop. Scores and follow-ups that are complete are on disk, and the same run resumes there.
    fn should_stop(&self) -> bool {
        false
    }
}

/// Shows nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn note(&self, _: &str) {}
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self, _: bool) {}
}
