//! Threads for tensor work. Each thread has a rayon pool with one thread, so no product is divided
//! among threads and the numbers don't depend on the number of threads.

use crate::backend::ScoreError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// The number of windows per batch for each group: no batch exceeds the group's `most`, and no
/// thread is idle while others have much to do. `groups` are pairs `(windows, most)`; a batch
/// contains windows of one group only.
///
/// Ten windows on two threads make two batches of five instead of one of ten. If there are many
/// batches per thread anyway, they keep the maximum size.
pub fn shares(groups: &[(usize, usize)], threads: usize) -> Vec<usize> {
    let threads = threads.max(1);
    let least = |(windows, most): &(usize, usize)| windows.div_ceil((*most).max(1)).max(1);
    let (windows, batches): (usize, usize) =
        groups.iter().fold((0, 0), |(windows, batches), group| {
            (windows + group.0, batches + least(group))
        });
    // From this number of rounds on, a thread that is idle in the last round costs less than small
    // batches would.
    let rounds = batches.div_ceil(threads);
    let wanted = if rounds > 16 {
        batches
    } else {
        rounds * threads
    };
    let share = |group: &(usize, usize)| {
        let of_all = (group.0 * wanted).div_ceil(windows.max(1));
        group.0.div_ceil(least(group).max(of_all)).max(1)
    };
    groups.iter().map(share).collect()
}

/// A number of threads, each of which runs one job at a time.
#[derive(Debug)]
pub struct Pools(Vec<ThreadPool>);

impl Pools {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// If they can't be started.
    pub fn new(threads: usize) -> Result<Self, ScoreError> {
        Self::wide(threads, 1)
    }

    /// Runs `jobs` jobs at a time, each with `threads` threads for its products. Only measurements
    /// use more than one thread per job: `byrote doctor --tune`.
    ///
    /// # Errors
    /// If the threads can't be started.
    pub fn wide(jobs: usize, threads: usize) -> Result<Self, ScoreError> {
        let pool = |_| {
            let builder = ThreadPoolBuilder::new().num_threads(threads.max(1));
            builder
                .build()
                .map_err(|e| ScoreError::Backend(e.to_string()))
        };
        Ok(Self((0..jobs.max(1)).map(pool).collect::<Result<_, _>>()?))
    }

    /// The number of jobs that run at a time.
    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// Runs every job and passes each outcome with the index of its job to `done`, on the calling
    /// thread, in order of completion. A job whose thread died has no outcome.
    pub fn each<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        work: impl Fn(&J) -> R + Sync,
        mut done: impl FnMut(usize, R),
    ) {
        let next = AtomicUsize::new(0);
        let (sender, results) = mpsc::channel();
        std::thread::scope(|scope| {
            let start = |pool| {
                let (sender, next, work) = (sender.clone(), &next, &work);
                let jobs_in_turn = move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { return };
                        if sender.send((index, work(job))).is_err() {
                            return;
                        }
                    }
                };
                scope.spawn(move || ThreadPool::install(pool, jobs_in_turn))
            };
            let threads: Vec<_> = self.0.iter().map(start).collect();
            drop(sender);
            results
                .iter()
                .for_each(|(index, outcome)| done(index, outcome));
            for thread in threads {
                // The job of a thread that died has no outcome, which the caller handles.
                let _ = thread.join();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_exactly_once_in_a_pool_of_one_thread() {
        let jobs: Vec<usize> = (0..50).collect();
        for threads in [0, 1, 3] {
            let mut seen = vec![0; jobs.len()];
            let pools = Pools::new(threads).unwrap();
            assert_eq!(pools.threads(), threads.max(1));
            let work = |job: &usize| (job * job, rayon::current_num_threads());
            pools.each(&jobs, work, |index, outcome| {
                assert_eq!(outcome, (index * index, 1));
                seen[index] += 1;
            });
            assert_eq!(seen, vec![1; jobs.len()]);
        }
    }

    #[test]
    fn no_thread_is_idle_if_there_are_enough_windows() {
        let cases = [
            // One batch would leave the second thread idle; three batches would leave it idle a
            // third of the time.
            (vec![(10, 16)], 2, vec![5]),
            (vec![(40, 16)], 2, vec![10]),
            (vec![(1, 16)], 8, vec![1]),
            (vec![(3, 16)], 8, vec![1]),
            (vec![(16, 16)], 1, vec![16]),
            (vec![(17, 16)], 1, vec![9]),
            // Sixteen full batches take eight rounds.
            (vec![(256, 16)], 2, vec![16]),
            // Long windows, few per batch; groups get shares in proportion.
            (vec![(8, 16), (8, 2)], 2, vec![3, 2]),
            (vec![], 4, vec![]),
        ];
        for (groups, threads, expected) in cases {
            assert_eq!(
                shares(&groups, threads),
                expected,
                "{groups:?} on {threads}"
            );
        }
        for threads in 1..9 {
            for windows in 1..200 {
                let size = shares(&[(windows, 16)], threads)[0];
                let batches = windows.div_ceil(size);
                let busiest = batches.div_ceil(threads) * size;
                let fair = windows.div_ceil(threads);
                assert!(
                    (1..=16).contains(&size) && busiest <= fair + fair / 4 + 1,
                    "{windows} on {threads}: {size}"
                );
            }
        }
    }

    #[test]
    fn a_panicking_job_has_no_outcome_and_the_others_do() {
        let mut seen = Vec::new();
        let work = |job: &usize| {
            if *job == 3 {
                panic!("as meant by the test")
            } else {
                *job
            }
        };
        Pools::new(2)
            .unwrap()
            .each(&(0..20).collect::<Vec<_>>(), work, |index, _| {
                seen.push(index)
            });
        seen.sort_unstable();
        assert_eq!(
            seen,
            (0..20).filter(|index| *index != 3).collect::<Vec<_>>()
        );
    }
}
