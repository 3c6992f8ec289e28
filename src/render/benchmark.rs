//! The record of `byrote doctor --tune`.

use crate::benchmark::{Row, WINDOW, flags};
use comfy_table::{Table, presets};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Benchmark {
    pub(crate) model: String,
    pub(crate) cores: usize,
    pub(crate) numa_nodes: usize,
    pub(crate) peak_gflops_f32: f64,
    pub(crate) peak_gflops_bf16: f64,
    pub(crate) measured: Vec<Row>,
    /// The options to use.
    pub(crate) recommended: String,
    /// The recommended row of `measured`.
    #[serde(skip)]
    pub(crate) best: usize,
}

impl Benchmark {
    pub(crate) fn text(&self) -> String {
        let half = WINDOW / 2;
        let mut text = format!(
            "{}, windows of {half}+{half} tokens, {} cores, {} NUMA nodes; large products: {:.0} GFLOP/s in f32, {:.0} in bf16\n\n",
            self.model, self.cores, self.numa_nodes, self.peak_gflops_f32, self.peak_gflops_bf16
        );
        for line in table(&self.measured).to_string().lines() {
            text += &format!("{}\n", line.trim_end());
        }
        text.push('\n');
        let best = &self.measured[self.best];
        let same_dtype = || self.measured.iter().filter(|row| row.dtype == best.dtype);
        let wide = same_dtype()
            .filter(|row| row.threads_per_batch > 1)
            .map(|row| row.windows_per_second)
            .fold(0.0, f64::max);
        if wide > 0.0 {
            let ratio = best.windows_per_second / wide;
            text += &format!(
                "one batch per thread is {ratio:.2} times as fast as all threads within one batch\n"
            );
        }
        let single =
            same_dtype().find(|row| row.batches_at_once == 1 && row.threads_per_batch == 1);
        if let (Some(single), true) = (single, self.cores > 1) {
            let ratio = best.windows_per_second / single.windows_per_second;
            text += &format!("{} cores are {ratio:.2} times as fast as one\n", self.cores);
        }
        text + &format!("recommended here: {}\n", flags(best))
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "dtype",
        "batches at once",
        "threads per batch",
        "windows per batch",
        "windows/s",
        "CPU-ms per window",
    ]);
    for row in rows {
        let cpu = match row.cpu_seconds_per_window {
            Some(seconds) => format!("{:.3}", 1e3 * seconds),
            None => "not known".to_owned(),
        };
        table.add_row([
            row.dtype.to_owned(),
            row.batches_at_once.to_string(),
            row.threads_per_batch.to_string(),
            row.batch.to_string(),
            format!("{:.2}", row.windows_per_second),
            cpu,
        ]);
    }
    table
}
