//! A recorder that keeps everything that it receives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The names of labels with their values.
pub(crate) type Labels = Vec<(String, String)>;

/// What was collected.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    values: BTreeMap<(String, Labels), Value>,
    described: BTreeSet<String>,
}

#[derive(Clone)]
enum Value {
    Counter(Arc<AtomicU64>),
    /// Bits of a float.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Times>),
}

/// How many times were recorded.
#[derive(Default)]
struct Times(AtomicU64);

impl HistogramFn for Times {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Collector {
    /// Collects everything of this process from now on.
    pub(crate) fn install() -> Result<Self> {
        let collector = Self::default();
        metrics::set_global_recorder(collector.clone()).map_err(|_| anyhow!("there is a recorder already"))?;
        Ok(collector)
    }

    /// The value of a series: of a histogram how many times it has.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = collected.values.iter().find(|((name, labels), _)| shown(name, labels) == series);
        found.map(|(_, value)| value.get())
    }

    /// Every series, by name and labels.
    pub(crate) fn series(&self) -> Vec<(String, Labels)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values.keys().cloned().collect()
    }

    /// The metrics that were described.
    pub(crate) fn described(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).described.clone()
    }

    fn of(&self, key: &Key, new: fn() -> Value) -> Value {
        let mut labels: Labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        labels.sort();
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        collected.values.entry((key.name().to_owned(), labels)).or_insert_with(new).clone()
    }

    fn describe(&self, name: &KeyName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).described.insert(name.as_str().to_owned());
    }
}

impl Value {
    fn get(&self) -> f64 {
        match self {
            Self::Counter(count) => count.load(Ordering::SeqCst) as f64,
            Self::Gauge(bits) => f64::from_bits(bits.load(Ordering::SeqCst)),
            Self::Histogram(times) => times.0.load(Ordering::SeqCst) as f64,
        }
    }
}

impl Recorder for Collector {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.of(key, || Value::Counter(Arc::default())) {
            Value::Counter(count) => Counter::from_arc(count),
            _ => panic!("{key} is no counter"),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.of(key, || Value::Gauge(Arc::default())) {
            Value::Gauge(bits) => Gauge::from_arc(bits),
            _ => panic!("{key} is no gauge"),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.of(key, || Value::Histogram(Arc::default())) {
            Value::Histogram(times) => Histogram::from_arc(times),
            _ => panic!("{key} is no histogram"),
        }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, labels), value) in &collected.values {
            writeln!(f, "{} {}", shown(name, labels), value.get())?;
        }
        Ok(())
    }
}

fn shown(name: &str, labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}
