//! Threads for tensor work. Each has a rayon pool of one thread of its own, so that no product is divided among threads
//! and the numbers don't depend on how many there are.

use super::ScoreError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Some threads, each of which does one job at a time.
#[derive(Debug)]
pub struct Pools(Vec<ThreadPool>);

impl Pools {
    /// So many threads, at least one.
    ///
    /// # Errors
    /// When they can't be started.
    pub fn new(threads: usize) -> Result<Self, ScoreError> {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| ScoreError::Backend(e.to_string()));
        Ok(Self((0..threads.max(1)).map(pool).collect::<Result<_, _>>()?))
    }

    /// How many.
    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// Does every job and gives each outcome, with the index of its job, to `done` on the calling thread, in the order
    /// in which they come. A job whose thread died has no outcome.
    pub fn each<J: Sync, R: Send>(&self, jobs: &[J], work: impl Fn(&J) -> R + Sync, mut done: impl FnMut(usize, R)) {
        let next = AtomicUsize::new(0);
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            let start = |pool| {
                let (tell, next, work) = (tell.clone(), &next, &work);
                let jobs_in_turn = move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { return };
                        if tell.send((index, work(job))).is_err() {
                            return;
                        }
                    }
                };
                scope.spawn(move || ThreadPool::install(pool, jobs_in_turn))
            };
            let threads: Vec<_> = self.0.iter().map(start).collect();
            drop(tell);
            told.iter().for_each(|(index, outcome)| done(index, outcome));
            for thread in threads {
                // What a dead thread had in hand is missing, which the caller sees.
                let _ = thread.join();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_each_in_a_pool_of_one_thread() {
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
    fn a_job_that_panics_has_no_outcome_and_the_others_have_theirs() {
        let mut seen = Vec::new();
        let work = |job: &usize| if *job == 3 { panic!("as meant by the test") } else { *job };
        Pools::new(2).unwrap().each(&(0..20).collect::<Vec<_>>(), work, |index, _| seen.push(index));
        seen.sort_unstable();
        assert_eq!(seen, (0..20).filter(|index| *index != 3).collect::<Vec<_>>());
    }
}
