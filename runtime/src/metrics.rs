//! The counts of a run for Prometheus, read from the ledger at every scrape.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::ledger::Ledger;

/// Upper ends, in seconds, of the latencies that are counted together.
const LATENCY_BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.4, 1.0, 10.0, 60.0,
];

/// The metrics of one run.
pub struct Metrics(Registry);

impl Metrics {
    /// The metrics of the run that counts in `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let mut registry = Registry::with_prefix("millsight");
        registry.register_collector(Box::new(OfLedger(ledger)));
        Self(registry)
    }

    /// The present counts in Prometheus' text format, version 0.0.4
    /// ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// Never in practice: text in memory takes everything.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct OfLedger(Arc<Ledger>);

impl Collector for OfLedger {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ledger = &self.0;
        let mut out = Out(encoder);
        let lines = ledger.line_counts();
        let tiles = ledger.tiles();
        for (name, help, count) in [
            ("lines", "Lines that came", lines.r#in),
            ("line_gaps", "Gaps in the sequence of lines", lines.gaps),
            ("missing_lines", "Lines missing in gaps", lines.missing),
            ("tiles", "Tiles that entered", tiles.total),
            (
                "padded_tiles",
                "Tiles partly filled up with black",
                tiles.padded,
            ),
            (
                "late_tiles",
                "Tiles judged after their deadline",
                tiles.late,
            ),
            (
                "record_failures",
                "Times that something could not be recorded",
                ledger.record_failures(),
            ),
        ] {
            out.one(name, help, &ConstCounter::new(count))?;
        }
        if let Some(camera) = ledger.camera() {
            for (name, help, count) in [
                ("camera_frames", "Frames that came", camera.frames),
                (
                    "camera_lost_frames",
                    "Frames that were lost on the way",
                    camera.dropped_frames,
                ),
                (
                    "camera_damaged_frames",
                    "Frames that came damaged",
                    camera.damaged_frames,
                ),
                (
                    "camera_losses",
                    "Times that the camera was gone",
                    camera.losses,
                ),
            ] {
                out.one(name, help, &ConstCounter::new(count))?;
            }
            let is_there = ConstGauge::new(u64::from(camera.is_there));
            out.one("camera_connected", "Whether the camera is there", &is_there)?;
            if let Some(status) = camera.line_status {
                let help = "State of the camera's input lines, a bit for each";
                out.one("camera_line_status", help, &ConstGauge::new(status))?;
            }
        }
        let flagged = ("flagged_tiles", "Tiles flagged as a defect");
        out.each(
            flagged,
            ConstCounter::new,
            "class",
            ledger.flagged_by_class(),
        )?;
        // A tile that is judged late leaves the unjudged ones again: gauges.
        let states = [
            ("background", tiles.background),
            ("cleared", tiles.cleared),
            ("judged", tiles.judged),
            ("unjudged", tiles.unjudged),
        ];
        let by_state = ("tiles_in_state", "Tiles by the state in which they are");
        out.each(by_state, ConstGauge::new, "state", states)?;
        let by_reason = ("unjudged_tiles", "Tiles that nobody has judged, by reason");
        out.each(
            by_reason,
            ConstGauge::new,
            "reason",
            ledger.unjudged_by_reason(),
        )?;
        out.one(
            "backlog_tiles",
            "Tiles that wait until there is time to judge them",
            &ConstGauge::new(ledger.backlog()),
        )?;
        let latency = ledger.latency_buckets(&LATENCY_BUCKETS);
        let mut metric = out.0.encode_descriptor(
            "verdict_latency",
            "From the last line of a tile to its verdict",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabelSet>(latency.sum, latency.count, &latency.buckets, None)
    }
}

/// Writes metrics.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    /// The same metric for each value of a label.
    fn each<'n, M: EncodeMetric>(
        &mut self,
        (name, help): (&str, &str),
        metric: impl Fn(u64) -> M,
        label: &str,
        values: impl IntoIterator<Item = (&'n str, u64)>,
    ) -> fmt::Result {
        let kind = metric(0).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in values {
            metric(count).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

/// `/metrics`, where Prometheus reads them.
pub fn routes(metrics: Metrics) -> Router {
    let metrics = Arc::new(metrics);
    let scrape = move || async move {
        match metrics.text() {
            Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Router::new().route("/metrics", get(scrape))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::ledger::{TileState, UnjudgedReason};

    #[test]
    fn the_text_says_what_the_ledger_counts() {
        let ledger = Ledger::new(&["no_defect".into(), "cracks".into()]);
        ledger.lines(512);
        ledger.gap(7);
        ledger.enter(4, true);
        ledger.settle(TileState::Cleared);
        ledger.settle(TileState::Judged { flagged: Some(1) });
        ledger.settle(TileState::Unjudged(UnjudgedReason::Deadline));
        ledger.settle(TileState::Unjudged(UnjudgedReason::Overload));
        ledger.judged_late(UnjudgedReason::Overload, None);
        ledger.record_failed();
        ledger.latency(Duration::from_millis(3), 1);
        ledger.latency(Duration::from_secs(100), 1);
        let text = Metrics::new(Arc::new(ledger)).text().unwrap();
        for line in [
            "# TYPE millsight_lines_total counter",
            "millsight_lines_total 512",
            "millsight_missing_lines_total 7",
            "millsight_tiles_total 4",
            "millsight_late_tiles_total 1",
            "millsight_record_failures_total 1",
            "millsight_flagged_tiles_total{class=\"cracks\"} 1",
            "millsight_tiles_in_state{state=\"judged\"} 2",
            "millsight_tiles_in_state{state=\"unjudged\"} 1",
            "millsight_unjudged_tiles{reason=\"deadline\"} 1",
            "millsight_unjudged_tiles{reason=\"overload\"} 0",
            "millsight_backlog_tiles 0",
            "# TYPE millsight_verdict_latency_seconds histogram",
            "millsight_verdict_latency_seconds_bucket{le=\"0.002\"} 0",
            "millsight_verdict_latency_seconds_bucket{le=\"0.005\"} 1",
            "millsight_verdict_latency_seconds_bucket{le=\"60\"} 1",
            "millsight_verdict_latency_seconds_bucket{le=\"+Inf\"} 2",
            "millsight_verdict_latency_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("class=\"no_defect\""), "{text}");
    }
}
