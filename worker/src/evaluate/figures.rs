//! What a set of comparisons amounts to: of the whole list, or of one group.

use std::collections::BTreeMap;

use proofmill_face::OperatingPoint;
use serde::Serialize;

use super::acquisition::{Acquired, Compared};
use super::pairs::Pair;
use super::scores::{Claim, EqualError, Rates, Scores, Spread};
use super::statistics::Proportion;
use crate::face_tools::Role;

/// False-match rates for which a threshold is looked for.
const CLAIMED: [f64; 5] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

/// Everything that is reported about a set of pairs.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// How many there are of what.
    pub pairs: PairCounts,
    /// Pictures and pairs that could not be compared.
    pub failure_to_acquire: FailureToAcquire,
    /// Where the genuine distances lie.
    pub genuine: Option<Spread>,
    /// Where the impostor distances lie.
    pub impostor: Option<Spread>,
    /// The rates at the pack's operating points.
    pub operating_points: Vec<AtPoint>,
    /// The rates over the range of distances.
    pub rates: Vec<Rates>,
    /// Thresholds by false-match rate.
    pub thresholds: Vec<Claim>,
    /// EER; null without comparisons of both kinds.
    pub equal_error_rate: Option<EqualError>,
    /// How often the replay guard took a pair for a copy; null when it was not asked.
    pub replay_guard: Option<ReplayGuard>,
    /// The distances themselves, for the plots.
    #[serde(skip)]
    pub scores: Scores,
}

/// How many pairs there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PairCounts {
    /// Pairs known to show one person.
    pub genuine: u64,
    /// Pairs known to show two.
    pub impostor: u64,
    /// Genuine pairs that were compared.
    pub genuine_compared: u64,
    /// Impostor pairs that were compared.
    pub impostor_compared: u64,
    /// Pairs with a file that could not be read; they count nowhere else.
    pub unread: u64,
}

/// FTA: how often there was nothing to compare, and why.
#[derive(Debug, Default, Serialize)]
pub struct FailureToAcquire {
    /// Pictures in the role of the reference, each once.
    pub references: Proportion,
    /// Pictures in the role of the probe, each once.
    pub probes: Proportion,
    /// Pairs of which at least one picture failed.
    pub pairs: Proportion,
    /// Pictures by reason.
    pub reasons: BTreeMap<&'static str, ByRole>,
}

/// Pictures in each role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByRole {
    /// As references.
    pub references: u64,
    /// As probes.
    pub probes: u64,
}

/// The rates at one of the pack's operating points.
#[derive(Debug, Serialize)]
pub struct AtPoint {
    /// Its name.
    pub name: String,
    /// Threshold and comparison error rates.
    #[serde(flatten)]
    pub rates: Rates,
    /// Comparisons decided rightly. It depends on how many pairs of each kind there are.
    pub accuracy: Proportion,
    /// FAR: impostor pairs that match, of all that were presented.
    pub false_accept_rate: Proportion,
    /// FRR: genuine pairs that do not match or could not be compared, of all that were presented.
    pub false_reject_rate: Proportion,
    /// What the pack says about the point.
    pub evidence: String,
}

/// How often the replay guard took one picture of a pair for a copy of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayGuard {
    /// Of genuine pairs; false alarms, unless the list pairs copies of one photograph.
    pub genuine: Proportion,
    /// Of impostor pairs.
    pub impostor: Proportion,
}

impl Figures {
    /// Of the pairs that `chosen` takes, by their place in the list.
    pub fn of(
        pairs: &[Pair],
        compared: &[Compared],
        acquired: &[Acquired],
        points: &[OperatingPoint],
        gates: bool,
        chosen: impl Fn(&Pair) -> bool,
    ) -> Self {
        let chosen: Vec<(&Pair, &Compared)> = pairs.iter().zip(compared).filter(|(pair, _)| chosen(pair)).collect();
        let counts = count(&chosen);
        let distances = |genuine: bool| {
            let of_kind = chosen.iter().filter(move |(pair, _)| pair.genuine == genuine);
            of_kind.filter_map(|(_, compared)| match compared {
                Compared::Distance { distance, .. } => Some(*distance),
                _ => None,
            })
        };
        let scores = Scores::new(distances(true).collect(), distances(false).collect());
        Self {
            pairs: counts,
            failure_to_acquire: failures(&chosen, acquired, gates),
            genuine: Spread::of(scores.genuine()),
            impostor: Spread::of(scores.impostor()),
            operating_points: points.iter().map(|point| AtPoint::of(point, &scores, counts)).collect(),
            rates: scores.grid().into_iter().map(|threshold| scores.rates(threshold)).collect(),
            thresholds: CLAIMED.iter().map(|target| scores.claim(*target)).collect(),
            equal_error_rate: scores.equal_error(),
            replay_guard: replay_guard(&chosen),
            scores,
        }
    }
}

fn count(chosen: &[(&Pair, &Compared)]) -> PairCounts {
    let mut counts = PairCounts::default();
    for (pair, compared) in chosen {
        if **compared == Compared::Unread {
            counts.unread += 1;
            continue;
        }
        let (all, done) = if pair.genuine {
            (&mut counts.genuine, &mut counts.genuine_compared)
        } else {
            (&mut counts.impostor, &mut counts.impostor_compared)
        };
        *all += 1;
        *done += u64::from(matches!(compared, Compared::Distance { .. }));
    }
    counts
}

fn failures(chosen: &[(&Pair, &Compared)], acquired: &[Acquired], gates: bool) -> FailureToAcquire {
    let mut out = FailureToAcquire::default();
    for role in [Role::Reference, Role::Probe] {
        let mut pictures: Vec<usize> = chosen
            .iter()
            .map(|(pair, _)| match role {
                Role::Reference => pair.a,
                Role::Probe => pair.b,
            })
            .collect();
        pictures.sort_unstable();
        pictures.dedup();
        let read = || pictures.iter().filter_map(|at| acquired.get(*at)).filter(|picture| picture.was_read());
        let reasons: Vec<&'static str> = read().filter_map(|picture| picture.failure(role, gates)).collect();
        let share = Proportion::new(reasons.len(), read().count());
        for reason in reasons {
            let by_role = out.reasons.entry(reason).or_default();
            match role {
                Role::Reference => by_role.references += 1,
                Role::Probe => by_role.probes += 1,
            }
        }
        match role {
            Role::Reference => out.references = share,
            Role::Probe => out.probes = share,
        }
    }
    let presented = chosen.iter().filter(|(_, compared)| **compared != Compared::Unread).count();
    let failed = chosen.iter().filter(|(_, compared)| matches!(compared, Compared::NotAcquired(..))).count();
    out.pairs = Proportion::new(failed, presented);
    out
}

fn replay_guard(chosen: &[(&Pair, &Compared)]) -> Option<ReplayGuard> {
    let asked = |genuine: bool| {
        let answers = chosen.iter().filter(move |(pair, _)| pair.genuine == genuine);
        answers.filter_map(|(_, compared)| match compared {
            Compared::Distance { copy, .. } => *copy,
            _ => None,
        })
    };
    let share = |genuine| Proportion::new(asked(genuine).filter(|copy| *copy).count(), asked(genuine).count());
    let answer = ReplayGuard { genuine: share(true), impostor: share(false) };
    (answer.genuine.trials + answer.impostor.trials > 0).then_some(answer)
}

impl AtPoint {
    fn of(point: &OperatingPoint, scores: &Scores, counts: PairCounts) -> Self {
        let rates = scores.rates(point.threshold);
        let lost = counts.genuine - counts.genuine_compared;
        Self {
            name: point.name.clone(),
            rates,
            accuracy: scores.accuracy(point.threshold),
            false_accept_rate: Proportion { count: rates.false_match_rate.count, trials: counts.impostor },
            false_reject_rate: Proportion { count: rates.false_non_match_rate.count + lost, trials: counts.genuine },
            evidence: point.evidence.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_acquired_counts_as_rejected_and_never_as_compared() {
        let pair = |genuine, group| Pair { a: 0, b: 1, genuine, group };
        let pairs =
            [pair(true, Some(0)), pair(true, Some(0)), pair(false, Some(0)), pair(false, Some(1)), pair(true, Some(1))];
        let at = |distance| Compared::Distance { distance, copy: Some(distance < 0.1) };
        let compared = [at(0.4), Compared::NotAcquired(None, Some("blurred")), at(0.5), at(0.9), Compared::Unread];
        let point = OperatingPoint {
            name: "point".to_owned(),
            threshold: 0.6,
            false_match_rate: None,
            impostor_comparisons: None,
            false_matches: None,
            evidence: "none".to_owned(),
        };
        let acquired = [Acquired::Failed("no_face"), Acquired::Failed("no_face")];
        let figures = Figures::of(&pairs, &compared, &acquired, std::slice::from_ref(&point), true, |_| true);
        assert_eq!(
            figures.pairs,
            PairCounts { genuine: 2, impostor: 2, genuine_compared: 1, impostor_compared: 2, unread: 1 }
        );
        let at = &figures.operating_points[0];
        assert_eq!(at.rates.false_match_rate, Proportion { count: 1, trials: 2 });
        assert_eq!(at.rates.false_non_match_rate, Proportion { count: 0, trials: 1 });
        assert_eq!(at.false_accept_rate, Proportion { count: 1, trials: 2 });
        assert_eq!(at.false_reject_rate, Proportion { count: 1, trials: 2 });
        assert_eq!(at.accuracy, Proportion { count: 2, trials: 3 });
        assert_eq!(figures.failure_to_acquire.pairs, Proportion { count: 1, trials: 4 });
        assert_eq!(figures.replay_guard.unwrap().impostor, Proportion { count: 0, trials: 2 });
        let group = Figures::of(&pairs, &compared, &acquired, &[point], true, |pair| pair.group == Some(1));
        assert_eq!((group.pairs.impostor, group.pairs.unread, group.scores.impostor()), (1, 1, &[0.9][..]));
        assert!(group.equal_error_rate.is_none());
    }
}
