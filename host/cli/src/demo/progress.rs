//! The progress of the demo: bars on a terminal, plain lines elsewhere. All of it goes to standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use switchover_workload::meter::Meter;
use switchover_workload::table::Move;
use tokio::task::JoinHandle;

use crate::output::{Colour, note, paint_note};

const REFRESH: Duration = Duration::from_millis(200);

/// The progress lines of one run.
pub(crate) struct Progress {
    step: ProgressBar,
    moved: ProgressBar,
    traffic: ProgressBar,
    ticker: Option<JoinHandle<()>>,
    on_terminal: bool,
    steps: usize,
    started: Instant,
}

impl Progress {
    /// Makes the progress of a run. It shows nothing before the first step.
    pub(crate) fn new(steps: usize) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let add = |bar: ProgressBar, template: &str| {
            let style = ProgressStyle::with_template(template).expect("a template of this program is well formed");
            let bar = if on_terminal { bars.add(bar) } else { ProgressBar::hidden() };
            bar.with_style(style.progress_chars("━╸─"))
        };
        Self {
            step: add(ProgressBar::new(steps as u64), "{spinner} step {pos}/{len}  {msg}"),
            moved: add(ProgressBar::new(0), "  {bar:32} {pos} of {len} sessions are in the new database"),
            traffic: add(ProgressBar::no_length(), "  {msg}"),
            ticker: None,
            on_terminal,
            steps,
            started: Instant::now(),
        }
    }

    /// Shows the traffic from now on.
    pub(crate) fn watch(&mut self, site: Arc<impl AsRef<Meter> + Send + Sync + 'static>) {
        let (step, traffic) = (self.step.clone(), self.traffic.clone());
        self.ticker = self.on_terminal.then(|| {
            tokio::spawn(async move {
                let mut calls_before = 0;
                let mut before = Instant::now();
                loop {
                    tokio::time::sleep(REFRESH).await;
                    let meter = (*site).as_ref();
                    let calls = meter.calls();
                    let rate = (calls - calls_before) as f64 / before.elapsed().as_secs_f64();
                    (calls_before, before) = (calls, Instant::now());
                    traffic.set_message(format!("{calls} calls, {rate:.0}/s, {} failed", meter.failures()));
                    step.tick();
                }
            })
        });
    }

    /// Shows the next step of the story.
    pub(crate) fn step(&self, title: &str) {
        self.step.inc(1);
        self.step.set_message(title.to_owned());
        if !self.on_terminal {
            let elapsed = format!("{:5.1} s", self.started.elapsed().as_secs_f64());
            note(format_args!("{elapsed}  step {}/{}  {title}", self.step.position(), self.steps));
        }
    }

    /// Shows an event within a step.
    pub(crate) fn event(&self, text: &str) {
        if self.on_terminal {
            self.step.suspend(|| note(paint_note(Colour::Dim, format_args!("    {text}"))));
        } else {
            note(format_args!("         {text}"));
        }
    }

    /// Shows the progress of the move.
    pub(crate) fn moved(&self, counts: Move) {
        self.moved.set_length(counts.old);
        self.moved.set_position(counts.old - counts.only_old);
    }

    /// Removes the bars from the screen.
    pub(crate) fn finish(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
        }
        for bar in [&self.step, &self.moved, &self.traffic] {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
