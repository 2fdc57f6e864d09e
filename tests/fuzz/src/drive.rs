//! Runs a target without instrumentation: the stored corpus first, then what is made of it, for as long as there is time.
//! An input that shows something new is kept for as long as the run lasts, and more is made of it.

use std::collections::HashSet;
use std::env;
use std::fmt::Write;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::{Random, mutate};

/// How many seconds a run lasts when the environment does not say so.
const SECONDS: f64 = 2.0;
/// The longest that one input may take, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// Inputs that are kept.
const MAX_POOL: usize = 2000;

/// Runs a target on its stored corpus and on what is made of it. `TULPAR_FUZZ_SECONDS` says for how long, and
/// `TULPAR_FUZZ_SEED` repeats a run.
///
/// # Panics
/// An input broke a promise. It is printed before, as a command that stores it in the corpus.
pub fn run(target: &Target) {
    let seconds = from_environment("TULPAR_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed =
        from_environment("TULPAR_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let mut run = Run {
        target,
        seed,
        seen: HashSet::new(),
        pool: Vec::new(),
        current: Arc::default(),
    };
    run.watch();
    let corpus = stored(target.name);
    assert!(!corpus.is_empty(), "{} has no corpus", target.name);
    let stored = corpus.len();
    for input in corpus {
        run.attempt(&input);
        run.pool.push(input);
    }
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut made = 0_u64;
    while begun.elapsed().as_secs_f64() < seconds {
        let input = mutate(&mut random, &run.pool, target.words);
        let is_new = run.attempt(&input);
        if is_new && run.pool.len() < MAX_POOL {
            run.pool.push(input);
        }
        made += 1;
    }
    println!(
        "{}: {stored} inputs of the corpus, {made} made of them in {seconds} s ({:.0}/s), {} kept; seed {seed}",
        target.name,
        made as f64 / begun.elapsed().as_secs_f64(),
        run.pool.len() - stored,
    );
}

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => panic!("{name} is {text:?}, which is no number"),
    }
}

/// The inputs that are stored for a target, in the order of their files' names.
fn stored(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |file| fs::read(file).expect("a file of the corpus can be read");
    files.iter().map(read).collect()
}

type Current = Mutex<Option<(Instant, Vec<u8>)>>;

struct Run<'a> {
    target: &'a Target,
    seed: u64,
    seen: HashSet<u64>,
    pool: Vec<Vec<u8>>,
    /// What is being tried, and since when.
    current: Arc<Current>,
}

impl Run<'_> {
    /// Tries an input. Returns whether it shows something new.
    fn attempt(&mut self, input: &[u8]) -> bool {
        let set = |current| {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
        };
        set(Some((Instant::now(), input.to_vec())));
        let seen = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        set(None);
        match seen {
            Ok(seen) => {
                let before = self.seen.len();
                self.seen.extend(seen);
                self.seen.len() > before
            }
            Err(panic) => {
                eprintln!("{}", failed(self.target.name, self.seed, input));
                resume_unwind(panic)
            }
        }
    }

    /// Sees to it that an input that never ends is told of too.
    fn watch(&self) {
        let (name, seed) = (self.target.name, self.seed);
        let current: Weak<Current> = Arc::downgrade(&self.current);
        std::thread::spawn(move || {
            while let Some(current) = current.upgrade() {
                let current = current
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                if let Some((since, input)) = current
                    && since.elapsed() > PATIENCE
                {
                    eprintln!("{}", failed(name, seed, &input));
                    eprintln!("It goes on for longer than {PATIENCE:?}.");
                    std::process::abort();
                }
                std::thread::sleep(PATIENCE / 20);
            }
        });
    }
}

/// What is to be known of an input that failed.
fn failed(name: &str, seed: u64, input: &[u8]) -> String {
    format!(
        "\nThe target `{name}` failed; the seed is {seed}. This stores the input, once it has a name:\n\
         printf '%b' '{}' > tests/fuzz/corpus/{name}/NAME\n",
        escaped(input)
    )
}

/// The bytes as `printf '%b'` takes them between single quotes.
fn escaped(input: &[u8]) -> String {
    let mut text = String::new();
    for byte in input {
        match byte {
            b'\'' | b'\\' => write!(text, "\\0{byte:03o}"),
            b' '..=b'~' => write!(text, "{}", *byte as char),
            _ => write!(text, "\\0{byte:03o}"),
        }
        .expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_is_printed_stores_the_input() {
        let all: Vec<u8> = (0..=255).chain(*b"it's 100% \\n").collect();
        let printed = Command::new("sh")
            .args(["-c", &format!("printf '%b' '{}'", escaped(&all))])
            .output()
            .expect("there is a shell");
        assert_eq!(printed.stdout, all);
    }

    #[test]
    fn a_target_that_panics_fails_the_run() {
        fn panics(_: &[u8]) -> crate::Seen {
            panic!("as told")
        }
        let target = Target {
            name: "section",
            run: panics,
            words: &[],
        };
        assert!(catch_unwind(AssertUnwindSafe(|| run(&target))).is_err());
    }
}
