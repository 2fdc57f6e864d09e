//! Runs one row: serves, measures, attacks, and judges.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tulpar_tests::Server;

use crate::arena::{Arena, TENANTS};
use crate::figures::Figures;
use crate::neighbour::{Measured, Neighbour, Phase};
use crate::row::Row;

/// How long each part of a row takes, and what is judged.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For how long the neighbour is measured alone, before the attack and after it.
    pub alone: Duration,
    /// For how long it is attacked.
    pub attack: Duration,
    /// How many tenants attack at once, 1 to 4: each with the same plugin.
    pub attackers: usize,
    /// The setting `limits.deadline-ms`.
    pub deadline_ms: u32,
    /// The setting `limits.compile-ms`; none for the default.
    pub compile_ms: Option<u32>,
    /// The longest that a message of the neighbour's may take.
    pub longest: Option<Duration>,
    /// Whether the neighbour's p99 is judged.
    pub judges_p99: bool,
}

impl Pace {
    /// With the defaults of the configuration, and the p99 beside the p99 alone.
    pub fn measured(each: Duration, attackers: usize) -> Self {
        Self {
            attackers,
            alone: each,
            attack: each,
            deadline_ms: 50,
            compile_ms: None,
            longest: None,
            judges_p99: true,
        }
    }

    /// For a moment, on a machine that does other things beside: nothing is judged by comparing times.
    pub fn brief() -> Self {
        Self {
            alone: Duration::from_millis(200),
            attack: Duration::from_millis(800),
            attackers: 2,
            // A machine that compiles beside the tests may hold a thread back for longer than the default.
            deadline_ms: 200,
            compile_ms: Some(10_000),
            // That machine may let a thread of either side stand still for seconds, and not only once.
            longest: Some(Duration::from_secs(8)),
            judges_p99: false,
        }
    }
}

/// What is added to twice the p99 alone. A machine of two cores has other things to do now and then, and a p99 alone of a
/// few hundred microseconds doubles by that.
const FLOOR: Duration = Duration::from_millis(2);

/// For how long the server may hold what the attack took.
const COMES_BACK: Duration = Duration::from_secs(10);

/// The attack goes on for at least so long, also when the attacker is in quarantine before.
const AT_LEAST: Duration = Duration::from_millis(800);

/// The memory that the server held, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Memory {
    /// Before the attack.
    pub before: u64,
    /// At most during the attack.
    pub peak: u64,
    /// After it, when it had come back or the time for that was over.
    pub after: u64,
}

/// What came of a row.
pub struct Outcome {
    /// The row's name.
    pub name: String,
    /// What happened to the attacker.
    pub attacker: String,
    /// The neighbour alone, before and after.
    pub alone: [Figures; 2],
    /// The neighbour during the attack.
    pub under: Figures,
    /// The server's memory.
    pub memory: Memory,
    /// What was not as promised.
    pub faults: Vec<String>,
    /// That the p99 is over its bound, where it is judged.
    pub slow: Option<String>,
    /// How often it was run until a run was judged.
    pub runs: u32,
}

/// What is to be thought of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All is as promised.
    Held,
    /// Something is not as promised.
    Red,
    /// All that was counted is as promised. The times say nothing: the neighbour alone was not like itself.
    Noisy,
}

impl Outcome {
    /// The neighbour's p99 alone, before and after taken together.
    pub fn p99_alone(&self) -> Duration {
        let [before, after] = &self.alone;
        before.clone().with(after).percentile(99.0)
    }

    /// The neighbour's p99 during the attack.
    pub fn p99_under(&self) -> Duration {
        self.under.percentile(99.0)
    }

    /// What is to be thought of it.
    pub fn verdict(&self) -> Verdict {
        if !self.faults.is_empty() {
            return Verdict::Red;
        }
        if self.is_noisy() {
            return Verdict::Noisy;
        }
        if self.slow.is_some() {
            Verdict::Red
        } else {
            Verdict::Held
        }
    }

    /// Whether the neighbour alone differs from itself by as much as an attack may slow it down. Then others use the
    /// machine, and the ratio of its times is theirs.
    fn is_noisy(&self) -> bool {
        let [before, after] = self.alone.each_ref().map(|phase| phase.percentile(99.0));
        before.max(after) > bound_on_p99(before.min(after))
    }
}

/// What the p99 may be under attack, beside what it is alone.
fn bound_on_p99(alone: Duration) -> Duration {
    (alone * 2).max(alone + FLOOR)
}

/// Runs a row, and runs it again when its times are over their bound or say nothing, up to so often: something else that
/// the machine does is seldom there three times. What is counted is judged each time.
pub async fn run_until_clear(row: &Row, pace: Pace, at_most: u32) -> Outcome {
    let mut runs = 1;
    loop {
        let outcome = run(row, pace).await;
        if runs >= at_most || !outcome.faults.is_empty() || outcome.verdict() == Verdict::Held {
            return Outcome { runs, ..outcome };
        }
        runs += 1;
    }
}

/// Runs a row once.
pub async fn run(row: &Row, pace: Pace) -> Outcome {
    // The other tests are served without a quarantine unless their configuration has the word.
    let mut limits = format!(
        "# With the default quarantine.\n[limits]\ndeadline-ms = {}\n",
        pace.deadline_ms
    );
    if let Some(compile_ms) = pace.compile_ms {
        limits.push_str(&format!("compile-ms = {compile_ms}\n"));
    }
    let builder = Server::with(&[])
        .tenant("good", &["neighbour"])
        .config(&limits)
        .env("TULPAR_LOG", "info");
    let server = (row.arm)(builder).start();
    let neighbour = Neighbour::begin(server.address(), "/good/echo");
    tokio::time::sleep(pace.alone / 4).await;

    neighbour.enter(Phase::Before);
    tokio::time::sleep(pace.alone).await;
    let mut memory = Memory {
        before: server.memory().unwrap_or_default(),
        ..Memory::default()
    };

    neighbour.enter(Phase::Under);
    let arena = Arena {
        server,
        tenants: &TENANTS[..pace.attackers.clamp(1, TENANTS.len())],
        neighbour_ids: neighbour.ids.clone(),
        until: Instant::now() + pace.attack,
    };
    let attacked = attack(row, &arena, &mut memory).await;

    neighbour.enter(Phase::After);
    let ended = Instant::now();
    let bound = memory.before + row.may_keep;
    loop {
        memory.after = arena.server.memory().unwrap_or_default();
        let waited = ended.elapsed();
        if waited >= pace.alone && (memory.after <= bound || waited >= COMES_BACK) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let is_alive = arena.server.memory().is_some();
    let measured = neighbour.finish();
    let mut outcome = Outcome {
        name: row.name.clone(),
        attacker: attacked
            .as_ref()
            .map_or_else(|_| "-".to_owned(), Clone::clone),
        alone: [Phase::Before, Phase::After].map(|phase| measured.phase(phase).clone()),
        under: measured.phase(Phase::Under).clone(),
        memory,
        faults: Vec::new(),
        slow: None,
        runs: 1,
    };
    if let Err(fault) = attacked {
        outcome.faults.push(fault);
    }
    if !is_alive {
        outcome.faults.push("the server is gone".to_owned());
    }
    judge(&mut outcome, &measured, pace, bound);
    outcome
}

/// What happened to the attacker, or what of that was not as promised. The peak of the memory is taken meanwhile.
async fn attack(row: &Row, arena: &Arena, memory: &mut Memory) -> Result<String, String> {
    let begun = Instant::now();
    let mut attack = AssertUnwindSafe((row.attack)(arena)).catch_unwind();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let attacked = loop {
        tokio::select! {
            attacked = &mut attack => break attacked,
            _ = look.tick() => memory.peak = memory.peak.max(arena.server.memory().unwrap_or_default()),
        }
    };
    tokio::time::sleep(AT_LEAST.saturating_sub(begun.elapsed())).await;
    memory.peak = memory.peak.max(arena.server.memory().unwrap_or_default());
    attacked.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "the attack failed without a word".to_owned())
    })
}

fn judge(outcome: &mut Outcome, measured: &Measured, pace: Pace, bound: u64) {
    let mut faults = Vec::new();
    let phases = [&outcome.alone[0], &outcome.under, &outcome.alone[1]];
    let lost: u64 = phases.iter().map(|phase| phase.lost()).sum();
    if lost > 0 {
        faults.push(format!("the neighbour lost {lost} messages"));
    }
    if measured.reordered > 0 {
        let count = measured.reordered;
        faults.push(format!(
            "{count} messages of the neighbour came late or twice"
        ));
    }
    if let Some(stranger) = &measured.stranger {
        faults.push(format!(
            "the neighbour got what nobody of its own sent: {stranger}"
        ));
    }
    if let Some(how) = &measured.ended {
        faults.push(format!("a connection of the neighbour's ended: {how}"));
    }
    let longest = phases
        .iter()
        .map(|phase| phase.max())
        .max()
        .unwrap_or_default();
    if pace.longest.is_some_and(|bound| longest > bound) {
        faults.push(format!("a message of the neighbour's took {longest:?}"));
    }
    let (alone, under) = (outcome.p99_alone(), outcome.p99_under());
    if pace.judges_p99 && under > bound_on_p99(alone) {
        outcome.slow = Some(format!(
            "the neighbour's p99 is {under:.1?}, and {alone:.1?} alone"
        ));
    }
    if outcome.memory.after > bound {
        let kept = (outcome.memory.after - outcome.memory.before) >> 20;
        faults.push(format!("the server still holds {kept} MiB more"));
    }
    outcome.faults.extend(faults);
}
