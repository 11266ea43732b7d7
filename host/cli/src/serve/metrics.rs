//! Metrics of the process, for Prometheus.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use switchover::Latencies;

/// How often the samples of histograms are put into their buckets. Between two times they take memory.
const UPKEEP_EACH: Duration = Duration::from_secs(5);

/// Collects the metrics of this process from now on. Returns what makes the page.
pub(super) fn install() -> Result<impl Fn() -> String + Send + Sync + 'static> {
    let bounds = Latencies::BOUNDS.map(|bound| bound.as_secs_f64());
    let suffix = Matcher::Suffix("_duration_seconds".to_owned());
    let collected = PrometheusBuilder::new().set_buckets_for_metric(suffix, &bounds).context("buckets")?;
    let collected = collected.install_recorder().context("metrics cannot be collected")?;
    switchover_server::describe_metrics();
    let kept = collected.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EACH).await;
            kept.run_upkeep();
        }
    });
    Ok(move || collected.render())
}
