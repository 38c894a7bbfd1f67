//! Which combinations of several choices are tried.

use std::collections::BTreeSet;

/// All combinations of choices `0..size` of each factor.
pub(crate) fn all(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![Vec::new()], |cases, size| {
        cases
            .iter()
            .flat_map(|case| (0..*size).map(move |choice| [case.as_slice(), &[choice]].concat()))
            .collect()
    })
}

/// Few combinations in which every two choices of different factors meet at least once. The same every time.
pub(crate) fn pairs(sizes: &[usize]) -> Vec<Vec<usize>> {
    let pairs_of = |case: &[usize]| -> Vec<(usize, usize, usize, usize)> {
        let mut pairs = Vec::new();
        for (a, left) in case.iter().enumerate() {
            for (b, right) in case.iter().enumerate().skip(a + 1) {
                pairs.push((a, *left, b, *right));
            }
        }
        pairs
    };
    let mut missing = BTreeSet::new();
    for (a, left) in sizes.iter().enumerate() {
        for (b, right) in sizes.iter().enumerate().skip(a + 1) {
            missing.extend((0..*left).flat_map(|x| (0..*right).map(move |y| (a, x, b, y))));
        }
    }
    let mut state = 20_240_917_u64;
    let mut random = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let mut cases = Vec::new();
    while let Some(&(a, x, b, y)) = missing.first() {
        let best = (0..40)
            .map(|_| {
                let mut case: Vec<usize> = sizes.iter().map(|size| random(*size)).collect();
                case[a] = x;
                case[b] = y;
                case
            })
            .max_by_key(|case| {
                pairs_of(case)
                    .iter()
                    .filter(|pair| missing.contains(*pair))
                    .count()
            })
            .unwrap();
        for pair in pairs_of(&best) {
            missing.remove(&pair);
        }
        cases.push(best);
    }
    cases
}

#[test]
fn every_pair_is_there() {
    let cases = pairs(&[4, 3, 5]);
    assert!(cases.len() < 40);
    for (x, y) in (0..4).flat_map(|x| (0..5).map(move |y| (x, y))) {
        assert!(cases.iter().any(|case| case[0] == x && case[2] == y));
    }
    assert_eq!(all(&[4, 3, 5]).len(), 60);
}
