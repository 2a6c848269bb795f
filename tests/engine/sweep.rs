//! Which of a command's calls to the engine a sweep disturbs, and how.

use crate::proxy::Call;

/// Sweeps disturb every call in every way: DOCKLET_TEST_EVERY=yes.
pub fn every() -> bool {
    std::env::var_os("DOCKLET_TEST_EVERY").is_some()
}

/// In so many runs, all of what is shared out is disturbed.
pub const PARTS: usize = 3;

/// The part that is this run's, below [`PARTS`]: `tests/run` draws it and says it. DOCKLET_TEST_PART asks for one.
pub fn part() -> usize {
    std::env::var("DOCKLET_TEST_PART").map_or(0, |part| part.parse().expect("a number")) % PARTS
}

/// This run's part of what there is to disturb, which may have no end. With DOCKLET_TEST_EVERY, all of it.
pub fn in_turn<T>(all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (first, step) = if every() { (0, 1) } else { (part(), PARTS) };
    each(all, first, step)
}

fn each<T>(all: impl Iterator<Item = T>, first: usize, step: usize) -> impl Iterator<Item = T> {
    all.skip(first).step_by(step)
}

/// The same of a list. Where there is little, all of it.
pub fn share<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    if all.len() < 4 * PARTS { all } else { in_turn(all.into_iter()).collect() }
}

/// Each nth call, others in each run, the ways in turn. With DOCKLET_TEST_EVERY, each call in each way.
pub fn moments<W: Clone + 'static>(nth: usize, ways: &'static [W]) -> impl Iterator<Item = (usize, W)> {
    let all = every();
    let (first, nth) = if all { (1, 1) } else { (1 + part() * nth / PARTS, nth) };
    (first..).step_by(nth).enumerate().flat_map(move |(index, n)| {
        let one = index % ways.len();
        let taken = if all { ways } else { &ways[one..=one] };
        taken.iter().map(move |way| (n, way.clone()))
    })
}

/// Which of these calls, from 1. Each one, but for helper containers: each of them is made, started, waited for and removed
/// in the same way, so that one call of it is enough, of the first helper the first, of the second the second, and so on. With
/// DOCKLET_TEST_EVERY, every call.
pub fn places(calls: &[Call]) -> Vec<usize> {
    if every() {
        return (1..=calls.len()).collect();
    }
    let one_helper = |one: &Call, next: &Call| helper(one).is_some() && helper(one) == helper(next) && !creates(next);
    let (mut places, mut first, mut helpers) = (vec![], 1, 0);
    for group in calls.chunk_by(one_helper) {
        places.push(first + helpers % group.len());
        first += group.len();
        helpers += usize::from(helper(&group[0]).is_some());
    }
    places
}

fn creates(call: &Call) -> bool {
    call.route() == "/containers/create"
}

/// The name of the helper container that a call is about.
fn helper(call: &Call) -> Option<&str> {
    let name = match call.path.split_once("/create?name=") {
        Some((_, rest)) => rest.split('&').next(),
        None => call.route().strip_prefix("/containers/")?.split('/').next(),
    };
    name.filter(|name| [".task", ".helper"].iter().any(|kind| name.ends_with(kind)))
}

#[test]
fn one_call_of_each_helper_and_all_others() {
    let call = |(seq, (method, path)): (usize, &(&str, &str))| Call {
        seq,
        method: (*method).to_owned(),
        path: format!("/v1.41/containers/{path}"),
        writes: true,
        forwarded: true,
        status: None,
    };
    let calls = [
        ("POST", "x/stop?t=10"),
        ("POST", "create?name=x.task&platform="),
        ("POST", "x.task/start"),
        ("DELETE", "x.task?v=true"),
        ("POST", "create?name=x.task&platform="),
        ("POST", "x.task/start"),
        ("DELETE", "x.task?v=true"),
        ("POST", "create?name=x.helper&platform="),
        ("POST", "x.helper/start"),
        ("POST", "x.helper/wait"),
        ("POST", "create?name=x&platform="),
        ("POST", "x/start"),
    ];
    let calls: Vec<Call> = calls.iter().enumerate().map(call).collect();
    let expected = if every() { (1..=12).collect() } else { vec![1, 2, 6, 10, 11, 12] };
    assert_eq!(places(&calls), expected);
}

#[test]
fn three_runs_have_all() {
    let all: Vec<usize> = (0..20).collect();
    let of = |part: usize| each(all.iter().copied(), part, PARTS).collect::<Vec<_>>();
    let mut together: Vec<usize> = (0..PARTS).flat_map(of).collect();
    together.sort_unstable();
    assert_eq!(together, all);
    assert_eq!(share(all.clone()), if every() { all.clone() } else { of(part()) });
    assert_eq!(share(0..11).len(), 11);
}
