//! On a simulated executor with a clock of its own, and some with real threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::Wake;

use super::gate::{LATER, PATIENCE};
use super::*;

const MS: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_micros(10);

/// A task of the executor below.
struct Task {
    ready: Arc<Mutex<VecDeque<usize>>>,
    number: usize,
    queued: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push_back(self.number);
        }
    }
}

/// What a task does all the time: it runs, and rests. Without a rest it yields.
#[derive(Clone, Copy)]
struct Work {
    share: usize,
    run: Duration,
    rest: Duration,
}

fn busy(share: usize) -> Work {
    Work {
        share,
        run: MS,
        rest: Duration::ZERO,
    }
}

/// Two cores on which tasks run in turn, by a clock of their own. Returns the milliseconds that each share used
/// after a tenth of the time, and how often a task of it was made to wait.
fn run(shares: &[Arc<Share>], works: &[Work], time: Duration) -> Vec<(u64, u32)> {
    let (cores, ready) = (&shares[0].cores, Arc::<Mutex<VecDeque<usize>>>::default());
    let mut tasks: Vec<_> = works
        .iter()
        .enumerate()
        .map(|(number, work)| {
            let task = Arc::new(Task {
                ready: ready.clone(),
                number,
                queued: AtomicBool::new(false),
            });
            task.clone().wake();
            (task, shares[work.share].turns(), None::<Duration>)
        })
        .collect();
    let mut threads = [None::<(usize, Duration)>; 2];
    let mut results: Vec<_> = shares.iter().map(|share| (share.used(), 0)).collect();
    let base = Instant::now();
    let mut at = Duration::ZERO;
    while at < time {
        let now = base + at;
        if at.as_micros().is_multiple_of(1000) {
            cores.balance(now);
        }
        if at == time / 10 {
            results = shares.iter().map(|share| (share.used(), 0)).collect();
        }
        for (task, _, rests) in &mut tasks {
            if rests.take_if(|until| *until <= at).is_some() {
                task.clone().wake();
            }
        }
        for thread in &mut threads {
            if let Some((number, _)) = thread.take_if(|(_, until)| *until <= at) {
                let (task, turns, rests) = &mut tasks[number];
                let again = works[number].rest.is_zero();
                let waker = Waker::from(task.clone());
                turns.end(&Context::from_waker(&waker), now, again);
                match again {
                    true => waker.wake(),
                    false => *rests = Some(at + works[number].rest),
                }
            }
            while thread.is_none()
                && let Some(number) = { lock(&ready).pop_front() }
            {
                let (task, turns, _) = &mut tasks[number];
                task.queued.store(false, Ordering::Relaxed);
                let waker = Waker::from(task.clone());
                let asked = turns.poll_turn(&mut Context::from_waker(&waker), now);
                match asked {
                    Poll::Ready(()) => *thread = Some((number, at + works[number].run)),
                    Poll::Pending => results[works[number].share].1 += 1,
                }
            }
        }
        at += STEP;
    }
    let used = results.iter().zip(shares);
    used.map(|((before, waits), share)| ((share.used() - before) / 1000, *waits))
        .collect()
}

fn shares(weights: &[u32]) -> Vec<Arc<Share>> {
    let cores = Cores::new(2);
    weights.iter().map(|w| cores.share(*w, None)).collect()
}

fn near(value: u64, expected: u64, percent: u64) {
    let off = value.abs_diff(expected) * 100;
    assert!(off <= expected * percent, "{value} instead of {expected}");
}

#[test]
fn those_who_are_busy_get_their_weights() {
    let works: Vec<_> = (0..12).map(|n| busy(n % 3)).collect();
    let used = run(&shares(&[100, 200, 400]), &works, 2000 * MS);
    for (n, expected) in [514, 1028, 2057].into_iter().enumerate() {
        near(used[n].0, expected, 5);
    }
}

#[test]
fn one_alone_gets_everything() {
    for tasks in [2, 3, 50] {
        let works: Vec<_> = (0..tasks).map(|_| busy(0)).collect();
        near(run(&shares(&[1]), &works, 1000 * MS)[0].0, 1800, 2);
    }
}

#[test]
fn many_tasks_get_no_more_than_one() {
    let mut works = vec![busy(0); 100];
    works.push(busy(1));
    let used = run(&shares(&[100, 100]), &works, 2000 * MS);
    near(used[0].0, 1800, 5);
    near(used[1].0, 1800, 5);
}

#[test]
fn nor_do_they_with_calls_that_are_too_short_to_yield() {
    let work = |share| Work {
        share,
        run: MS,
        rest: STEP,
    };
    let works = [vec![work(0); 100], vec![work(1)]].concat();
    let used = run(&shares(&[100, 100]), &works, 2000 * MS);
    near(used[0].0, 1800, 10);
    near(used[1].0, 1800, 10);
}

#[test]
fn what_one_cannot_use_the_others_get() {
    let mut works = vec![busy(0); 10];
    works.push(busy(1));
    // Three quarters of the cores are its own, and one task cannot use more than half of them.
    let used = run(&shares(&[100, 300]), &works, 2000 * MS);
    near(used[0].0 + used[1].0, 3600, 2);
    near(used[1].0, 1800, 5);
}

#[test]
fn one_who_uses_little_never_waits() {
    let mut works: Vec<_> = (0..80).map(|n| busy(n % 8)).collect();
    works.push(Work {
        share: 8,
        run: MS / 5,
        rest: 4800 * MS / 1000,
    });
    let used = run(&shares(&[100; 9]), &works, 5000 * MS);
    assert_eq!(used[8].1, 0);
    assert!(used[8].0 > 100, "{used:?}");
    // One core is left to it, and the others share the other one.
    near(used.iter().map(|(used, _)| used).sum(), 4680, 2);
}

#[test]
fn many_short_calls_get_the_share_of_one_who_computes() {
    let short = Work {
        share: 1,
        run: 2 * STEP,
        rest: STEP,
    };
    let works = [vec![busy(0); 10], vec![short; 40]].concat();
    let used = run(&shares(&[100, 50]), &works, 2000 * MS);
    near(used[1].0, 1200, 10);
    near(used[0].0, 2400, 10);
}

#[test]
fn a_pause_is_worth_the_burst_and_no_more() {
    let shares = shares(&[100, 100]);
    let works = [vec![busy(0); 10], vec![busy(1); 10]].concat();
    run(&shares, &works[..10], 1000 * MS);
    let base = Instant::now();
    for ms in 1000..20_000 {
        shares[0].cores.balance(base + ms * MS);
    }
    let cores = &shares[0].cores;
    lock(&cores.tenants).looked = None;
    assert!(
        lock(&cores.tenants)
            .list
            .iter()
            .all(|t| t.credit == 2 * BURST)
    );
    let used = run(&shares, &works, 100 * MS);
    assert!(used[0].0.abs_diff(used[1].0) <= 20, "{used:?}");
}

#[test]
fn the_smallest_weight_beside_the_largest() {
    for weights in [[1, 10_000], [0, u32::MAX]] {
        let works: Vec<_> = (0..20).map(|n| busy(n % 2)).collect();
        let used = run(&shares(&weights), &works, 1000 * MS);
        near(used[1].0, 1800, 2);
    }
}

#[test]
fn a_cap_holds_also_when_the_cores_are_idle() {
    for (cap, expected) in [(1000, 1800), (100, 180), (1500, 2700), (0, 0), (5000, 3600)] {
        let shares = [Cores::new(2).share(100, Some(cap))];
        let used = run(&shares, &[busy(0); 5], 2000 * MS)[0].0;
        near(used, expected, 3);
    }
}

#[test]
fn a_turn_that_is_not_used_goes_to_others() {
    let cores = Cores::new(1);
    let shares = [cores.share(100, None), cores.share(100, None)];
    let (cx, now) = (&mut Context::from_waker(Waker::noop()), Instant::now());
    for share in &shares {
        share.free_until.store(0, Ordering::Relaxed);
    }
    let (mut first, mut second) = (shares[0].turns(), shares[1].turns());
    // Each slice begins behind the others of the thread.
    for _ in 0..LATER {
        assert!(first.poll_turn(cx, now).is_pending());
    }
    assert!(first.poll_turn(cx, now).is_ready());
    first.end(cx, now, true);
    assert!(second.poll_turn(cx, now).is_pending());
    cores.balance(now + PATIENCE);
    assert!(lock(&cores.gate).lanes[&shares[1].id].granted.is_empty());
    // The first does not come.
    let now = now + PATIENCE + STEP;
    cores.balance(now);
    assert_eq!(lock(&cores.gate).lanes[&shares[1].id].granted.len(), 1);
    assert!(first.poll_turn(cx, now).is_pending());
    for _ in 0..LATER {
        assert!(second.poll_turn(cx, now).is_pending());
    }
    assert!(second.poll_turn(cx, now).is_ready());
    // It pauses before its slice is over.
    second.end(cx, now + STEP, false);
    cores.balance(now + 10 * STEP);
    assert!(lock(&cores.gate).lanes[&shares[0].id].granted.is_empty());
    cores.balance(now + 11 * STEP);
    assert_eq!(lock(&cores.gate).lanes[&shares[0].id].granted.len(), 1);
    // A call that goes, and a share with a turn that goes, leave it to others.
    drop((first, second));
    assert_eq!(lock(&cores.gate).free, 1);
    let mut third = shares[0].turns();
    while third.poll_turn(cx, now).is_pending() {}
    third.end(cx, now, false);
    drop(third);
    assert_eq!(lock(&cores.gate).free, 0);
    drop(shares);
    assert_eq!(lock(&cores.gate).free, 1);
}

#[test]
fn what_is_dropped_while_it_waits_leaves_nothing() {
    let shares = shares(&[100, 10, 1]);
    let cores = &shares[0].cores;
    for share in &shares {
        share.free_until.store(0, Ordering::Relaxed);
    }
    let mut calls: Vec<Turns<'_>> = Vec::new();
    let mut running: Vec<Turns<'_>> = Vec::new();
    let (mut seed, now) = (1_u64, Instant::now());
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let cx = &mut Context::from_waker(Waker::noop());
    for round in 0..50_000_u32 {
        let now = now + STEP * round;
        match draw(8) {
            0 | 1 => calls.push(shares[draw(3)].turns()),
            2 if !calls.is_empty() => drop(calls.swap_remove(draw(calls.len()))),
            3 if !running.is_empty() => drop(running.swap_remove(draw(running.len()))),
            4 | 5 if !running.is_empty() => {
                let mut call = running.swap_remove(draw(running.len()));
                call.end(cx, now, draw(2) == 0);
                calls.push(call);
            }
            6 if draw(10) == 0 => cores.balance(now),
            _ if !calls.is_empty() => {
                let number = draw(calls.len());
                if calls[number].poll_turn(cx, now).is_ready() {
                    running.push(calls.swap_remove(number));
                }
            }
            _ => {}
        }
        let gate = lock(&cores.gate);
        let held: usize = gate.lanes.values().map(|lane| lane.turns).sum();
        let kept = isize::from(gate.reserved);
        assert_eq!(isize::try_from(held).unwrap() + gate.free + kept, 2);
        assert!(gate.free <= 0 || gate.line.is_empty());
        for (id, lane) in &gate.lanes {
            assert!(lane.busy <= lane.turns && lane.granted.len() <= lane.busy);
            assert_eq!(gate.holders.contains(id), lane.turns > 0);
            let lined = gate.line.contains(&(lane.usage, *id));
            assert_eq!(lined, !lane.waiting.is_empty());
        }
    }
    drop((calls, running));
    cores.balance(now + MS * 10_000);
    let gate = lock(&cores.gate);
    assert!(
        gate.lanes
            .values()
            .all(|lane| lane.busy == 0 && lane.called.is_none())
    );
    assert!(gate.line.is_empty());
}

/// A call that computes for so many polls, asked as the caller of [`Turns`] does.
async fn call(share: &Share, polls: u32, time: Duration) {
    let mut guest = pin!(async {
        for left in (0..polls).rev() {
            let begun = Instant::now();
            while begun.elapsed() < time {}
            if left > 0 {
                yield_now().await;
            }
        }
    });
    let mut turns = share.turns();
    std::future::poll_fn(|cx| {
        std::task::ready!(turns.poll_turn(cx, Instant::now()));
        let polled = guest.as_mut().poll(cx);
        turns.end(cx, Instant::now(), polled.is_pending());
        polled
    })
    .await;
}

/// The epoch thread.
fn tick(cores: &Arc<Cores>) {
    let cores = Arc::downgrade(cores);
    std::thread::spawn(move || {
        while let Some(cores) = cores.upgrade() {
            cores.balance(Instant::now());
            std::thread::sleep(MS);
        }
    });
}

/// A tenant with a hundred tasks and one with one, whose calls are so long. Taken in turn it would get a
/// hundredth. The bound is wide because other programs take the cores too, and one task cannot catch up; the tests
/// with a clock of their own hold the same exactly.
async fn a_hundred_against_one(polls: u32) {
    let shares = shares(&[100, 100]);
    tick(&shares[0].cores);
    for number in 0..101 {
        let share = shares[usize::from(number == 100)].clone();
        tokio::spawn(async move {
            loop {
                call(&share, polls, MS).await;
                yield_now().await;
            }
        });
    }
    tokio::time::sleep(200 * MS).await;
    // A second in which other programs have a core is none to judge by.
    let mut seconds = Vec::<[u64; 2]>::new();
    while !seconds.iter().any(|[many, one]| one * 4 > *many) {
        assert!(seconds.len() < 10, "{seconds:?}");
        let before = [shares[0].used(), shares[1].used()];
        tokio::time::sleep(1000 * MS).await;
        seconds.push([shares[0].used() - before[0], shares[1].used() - before[1]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_on_real_threads_get_no_more_than_one() {
    a_hundred_against_one(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_when_their_calls_never_yield() {
    a_hundred_against_one(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_on_real_threads() {
    let shares = Arc::new(shares(&[100, 10_000]));
    tick(&shares[0].cores);
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..40_u32)
        .map(|number| {
            let (shares, done) = (shares.clone(), done.clone());
            tokio::spawn(async move {
                for round in 0..1000 {
                    let share = &shares[(number % 2) as usize];
                    share.free_until.store(0, Ordering::Relaxed);
                    let call = call(share, round % 4, (number + round) % 7 * STEP);
                    if round % 3 == 0 {
                        let limit = (number + round) % 11 * 10 * STEP;
                        let _ = tokio::time::timeout(limit, call).await;
                    } else {
                        call.await;
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 40);
}
