//! What the calls into a plugin have come to and cost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::CallError;

/// Up to which time a call counts in which bucket, in nanoseconds: steps of about three, from a handler that does next to
/// nothing to one that waits for others.
const BOUNDS: [u64; 15] = [
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    3_000_000_000,
    10_000_000_000,
];

/// What a plugin is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A new instance is made.
    Instantiate,
    /// It says what it is.
    Describe,
    /// A socket has opened.
    Open,
    /// A message has come.
    Message,
    /// All has been written to a slow peer.
    Drain,
    /// A socket has closed.
    Close,
    /// Its file was replaced.
    Reload,
    /// A middleware decides about a request.
    Decide,
    /// A controller answers one.
    Answer,
    /// A service starts.
    Start,
    /// A schedule of it is due.
    Schedule,
    /// It stops.
    Stop,
}

impl Call {
    const ALL: [Self; 12] = [
        Self::Instantiate,
        Self::Describe,
        Self::Open,
        Self::Message,
        Self::Drain,
        Self::Close,
        Self::Reload,
        Self::Decide,
        Self::Answer,
        Self::Start,
        Self::Schedule,
        Self::Stop,
    ];

    /// As it is called where it is counted, and where the contract has a name for it, by that.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instantiate => "instantiate",
            Self::Describe => "describe",
            Self::Open => "on-open",
            Self::Message => "on-message",
            Self::Drain => "on-drain",
            Self::Close => "on-close",
            Self::Reload => "on-reload",
            Self::Decide => "middleware",
            Self::Answer => "controller",
            Self::Start => "on-start",
            Self::Schedule => "on-schedule",
            Self::Stop => "on-stop",
        }
    }
}

/// What a middleware made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes on.
    Next,
    /// It was answered.
    Respond,
    /// The middleware failed.
    Failed,
}

impl Decision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Next, Self::Respond, Self::Failed];

    /// As it is called where it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Respond => "respond",
            Self::Failed => "failed",
        }
    }
}

/// Counts the calls into one plugin, of all its generations.
#[derive(Debug, Default)]
pub struct Tally {
    times: [Times; Call::ALL.len()],
    computed: AtomicU64,
    errors: AtomicU64,
    traps: AtomicU64,
    overruns: AtomicU64,
    decisions: [AtomicU64; Decision::ALL.len()],
    responses: [AtomicU64; CLASSES],
    replaced: AtomicU64,
    refused: AtomicU64,
    schedules_run: AtomicBool,
}

/// The classes of statuses, from 2xx to 5xx.
const CLASSES: usize = 4;

/// How long calls have taken.
#[derive(Debug, Default)]
struct Times {
    /// One more than bounds: for what takes longer than the last.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// How long the calls of one kind have taken, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// How many there were.
    pub count: u64,
    /// How long they took, together, in seconds.
    pub seconds: f64,
    /// How many took up to so many seconds and longer than the one before; the last: any number of them.
    pub buckets: Vec<(f64, u64)>,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Tally {
    /// A call has ended after `taken`, without what it waited for its turn, and has had a thread for `computed` of that.
    pub fn count_call(&self, call: Call, taken: Duration, computed: Duration) {
        add(&self.computed, nanos(computed));
        let taken = nanos(taken);
        let times = &self.times[call as usize];
        let bucket = BOUNDS.iter().position(|bound| taken <= *bound);
        add(&times.buckets[bucket.unwrap_or(BOUNDS.len())], 1);
        add(&times.nanos, taken);
    }

    /// A call came to nothing.
    pub fn count_failure(&self, error: &CallError) {
        add(
            match error {
                CallError::Trap(_) => &self.traps,
                CallError::Overrun(_) => &self.overruns,
                _ => &self.errors,
            },
            1,
        );
    }

    /// What a middleware made of a request.
    pub fn count_decision(&self, decision: Decision) {
        add(&self.decisions[decision as usize], 1);
    }

    /// A request to a controller was answered with that status.
    pub fn count_response(&self, status: u16) {
        let class = usize::from(status / 100).clamp(2, CLASSES + 1) - 2;
        add(&self.responses[class], 1);
    }

    /// Its file was replaced: whether that took effect.
    pub fn count_replacement(&self, took_effect: bool) {
        add(
            match took_effect {
                true => &self.replaced,
                false => &self.refused,
            },
            1,
        );
    }

    /// Whether the schedules of its service run on this node from now on.
    pub fn set_schedules_run(&self, run: bool) {
        self.schedules_run.store(run, Ordering::Relaxed);
    }

    /// Whether they do.
    #[must_use]
    pub fn schedules_run(&self) -> bool {
        self.schedules_run.load(Ordering::Relaxed)
    }

    /// How long its calls have had threads, together.
    #[must_use]
    pub fn computed(&self) -> Duration {
        Duration::from_nanos(get(&self.computed))
    }

    /// Calls that failed otherwise than by a trap or for their time.
    #[must_use]
    pub fn errors(&self) -> u64 {
        get(&self.errors)
    }

    /// Calls that trapped.
    #[must_use]
    pub fn traps(&self) -> u64 {
        get(&self.traps)
    }

    /// Calls that took too long.
    #[must_use]
    pub fn overruns(&self) -> u64 {
        get(&self.overruns)
    }

    /// How often its middleware has decided like that.
    #[must_use]
    pub fn decisions(&self, decision: Decision) -> u64 {
        get(&self.decisions[decision as usize])
    }

    /// How many responses of each class its controller has given, as `2xx`.
    pub fn responses(&self) -> impl Iterator<Item = (String, u64)> {
        let classes = self.responses.iter().enumerate();
        classes.map(|(index, count)| (format!("{}xx", index + 2), get(count)))
    }

    /// How often its file was replaced while it served.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        get(&self.replaced)
    }

    /// How often a file was refused for what it did when it was to take over.
    #[must_use]
    pub fn refused(&self) -> u64 {
        get(&self.refused)
    }

    /// How long its calls have taken, of each kind that there were any.
    #[must_use]
    pub fn times(&self) -> Vec<(Call, Taken)> {
        let times = Call::ALL.into_iter().map(|call| {
            let times = &self.times[call as usize];
            let bounds = BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9);
            let buckets: Vec<_> = bounds
                .chain([f64::INFINITY])
                .zip(times.buckets.iter().map(get))
                .collect();
            let taken = Taken {
                count: buckets.iter().map(|(_, count)| count).sum(),
                seconds: get(&times.nanos) as f64 / 1e9,
                buckets,
            };
            (call, taken)
        });
        times.filter(|(_, taken)| taken.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_in_the_bucket_of_its_time() {
        let tally = Tally::default();
        assert_eq!(tally.times(), []);
        let micros = Duration::from_micros;
        for taken in [micros(1), micros(2), micros(1000), micros(60_000_000)] {
            tally.count_call(Call::Message, taken, micros(1));
        }
        let times = tally.times();
        let [(Call::Message, taken)] = &times[..] else {
            panic!("{times:?}");
        };
        assert_eq!((taken.count, tally.computed()), (4, micros(4)));
        assert!((taken.seconds - 60.001_003).abs() < 1e-9);
        let filled = taken.buckets.iter().filter(|(_, count)| *count > 0);
        let bounds: Vec<_> = filled.map(|(bound, _)| *bound).collect();
        assert_eq!(bounds, [1e-6, 3e-6, 1e-3, f64::INFINITY]);
    }

    #[test]
    fn each_status_is_in_its_class() {
        let tally = Tally::default();
        for status in [200, 204, 302, 404, 503, 599] {
            tally.count_response(status);
        }
        let responses: Vec<_> = tally.responses().map(|(_, count)| count).collect();
        assert_eq!(responses, [2, 1, 1, 2]);
    }
}
