//! Whether it makes sense to ask, when nobody answers.
//!
//! Who asks waits for some time before it gives up, and what waits for it may be ended before that. So when nothing has been
//! answered for that long, though there were questions all the time, most are not asked any more.

use std::time::{Duration, Instant};

/// For what part of the time that a question may wait another one is asked, to find out whether there are answers again.
const PROBE: u32 = 4;

/// Questions without an answer.
#[derive(Debug, Default)]
pub(super) struct Silence(Option<Unanswered>);

#[derive(Debug)]
struct Unanswered {
    /// The first since the last answer.
    since: Instant,
    /// When the last was asked, or given up.
    last: Instant,
}

impl Silence {
    /// Whether something may be asked that waits for so long at most.
    pub(super) fn may_ask(&mut self, now: Instant, patience: Duration) -> bool {
        match &mut self.0 {
            Some(unanswered) if now - unanswered.last < patience => {
                let is_silent = now - unanswered.since >= patience;
                if is_silent && now - unanswered.last < patience / PROBE {
                    return false;
                }
                unanswered.last = now;
            }
            // One to which no answer was awaited may well have got one.
            unanswered => {
                *unanswered = Some(Unanswered {
                    since: now,
                    last: now,
                });
            }
        }
        true
    }

    /// Takes note that one has waited in vain.
    pub(super) fn go_on(&mut self, now: Instant) {
        if let Some(unanswered) = &mut self.0 {
            unanswered.last = now;
        }
    }

    /// Takes note of an answer, or of a good reason for there being none.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1000);

    fn asked(silence: &mut Silence, times: impl IntoIterator<Item = u64>) -> usize {
        let begin = Instant::now();
        let times = times
            .into_iter()
            .map(|it| begin + Duration::from_millis(it));
        times.filter(|now| silence.may_ask(*now, PATIENCE)).count()
    }

    #[test]
    fn who_gets_no_answers_asks_rarely() {
        let mut silence = Silence::default();
        // All of the first second, and four in each of the next.
        assert_eq!(asked(&mut silence, (0..10_000).step_by(10)), 100 + 9 * 4);
        silence.end();
        assert_eq!(asked(&mut silence, (0..1000).step_by(10)), 100);
    }

    #[test]
    fn who_waits_in_vain_asks_rarely_afterwards() {
        let mut silence = Silence::default();
        let begin = Instant::now();
        assert!(silence.may_ask(begin, PATIENCE));
        let end = begin + PATIENCE;
        silence.go_on(end);
        assert!(!silence.may_ask(end, PATIENCE));
        assert!(silence.may_ask(end + PATIENCE / PROBE, PATIENCE));
        silence.end();
        assert!(silence.may_ask(end + PATIENCE / PROBE, PATIENCE));
    }

    #[test]
    fn rare_questions_are_all_asked() {
        let mut silence = Silence::default();
        assert_eq!(asked(&mut silence, (0..60_000).step_by(1000)), 60);
    }
}
