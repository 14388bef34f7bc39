//! The report, for programs and for people.

use std::fmt::{self, Write as _};

use proofmill_face::PackIdentity;
use serde::Serialize;

use super::figures::Figures;
use super::scores::{Claim, Rates, Spread};
use super::statistics::{CONFIDENCE, Proportion};
use crate::face_tools::printable;

/// What the numbers are not.
pub const CAVEATS: [&str; 3] = [
    "Intervals are exact for independent comparisons (Clopper-Pearson, 95 %). Pairs that share people or pictures are not \
     independent: the true uncertainty is larger.",
    "A threshold that was chosen on these pairs has to be confirmed on others.",
    "The rates hold for pictures and people like these. A comparison is of one reference and one probe; presentation \
     attacks are not tested.",
];

/// Everything an evaluation found.
#[derive(Serialize)]
pub struct Report {
    /// What decides.
    pub pack: PackIdentity,
    /// Where the networks ran.
    pub device: String,
    /// Whether the gates of the product were applied to the pictures.
    pub gates: bool,
    /// Different pictures in the list.
    pub pictures: usize,
    /// Rows that repeat a pair; they count once.
    pub repeated_pairs: usize,
    /// Files that could not be read; their pairs count nowhere.
    pub unread: Vec<Unread>,
    /// Of all pairs.
    #[serde(flatten)]
    pub overall: Figures,
    /// The column by which pairs are grouped.
    pub group_column: Option<String>,
    /// Of each group, in order of appearance.
    pub groups: Vec<Group>,
    /// What the numbers are not.
    pub caveats: &'static [&'static str],
}

/// A file that could not be read.
#[derive(Serialize)]
pub struct Unread {
    /// As the list names it.
    pub file: String,
    /// The stable machine-readable name.
    pub code: &'static str,
    /// What the operating system said.
    pub message: String,
}

/// The pairs with one value in the group column.
#[derive(Serialize)]
pub struct Group {
    /// The value.
    pub group: String,
    /// What they amount to.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Report {
    /// The report as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let PackIdentity { name, version, .. } = &self.pack;
        writeln!(out, "Evaluation of {name} {version} on {}", self.device)?;
        writeln!(
            out,
            "{} pictures, {} pairs{}{}",
            self.pictures,
            self.overall.pairs.genuine + self.overall.pairs.impostor + self.overall.pairs.unread,
            if self.repeated_pairs > 0 {
                format!(" ({} repeated rows left out)", self.repeated_pairs)
            } else {
                String::new()
            },
            if self.gates { "" } else { "; WITHOUT the product's gates" },
        )?;
        if !self.unread.is_empty() {
            writeln!(
                out,
                "{} files could not be read; their {} pairs count nowhere",
                self.unread.len(),
                self.overall.pairs.unread
            )?;
        }
        figures(out, &self.overall)?;
        self.groups_at_a_glance(out)?;
        for group in &self.groups {
            let column = self.group_column.as_deref().unwrap_or_default();
            writeln!(out, "\n== {} = {}", printable(column), printable(&group.group))?;
            figures(out, &group.figures)?;
        }
        writeln!(out)?;
        for caveat in self.caveats {
            writeln!(out, "* {caveat}")?;
        }
        Ok(())
    }
}

impl Report {
    /// One line a group, at the pack's default operating point.
    fn groups_at_a_glance(&self, out: &mut String) -> fmt::Result {
        let Some(column) = &self.group_column else { return Ok(()) };
        let point = &self.pack.operating_point;
        let width = self.groups.iter().map(|group| group.group.chars().count()).fold(8, usize::max);
        writeln!(out, "\nBy {}, at {point}", printable(column))?;
        writeln!(out, "  {:width$}  {:<34}{:<34}FTA, pairs", "", "FMR", "FNMR")?;
        for Group { group, figures } in &self.groups {
            let at = figures.operating_points.iter().find(|at| at.name == *point);
            let of = |rate: fn(&Rates) -> Proportion| at.map_or(String::new(), |at| counted(rate(&at.rates)));
            writeln!(
                out,
                "  {:width$}  {:<34}{:<34}{}",
                printable(group),
                of(|rates| rates.false_match_rate),
                of(|rates| rates.false_non_match_rate),
                counted(figures.failure_to_acquire.pairs)
            )?;
        }
        Ok(())
    }
}

fn figures(out: &mut String, figures: &Figures) -> fmt::Result {
    let pairs = &figures.pairs;
    writeln!(
        out,
        "\nCompared: {} of {} genuine pairs, {} of {} impostor pairs",
        pairs.genuine_compared, pairs.genuine, pairs.impostor_compared, pairs.impostor
    )?;
    let spread = |kind: &str, spread: &Option<Spread>| match spread {
        Some(s) => format!("  {kind:<9} {:.4} to {:.4}, median {:.4}\n", s.least, s.largest, s.median),
        None => String::new(),
    };
    write!(out, "{}{}", spread("genuine", &figures.genuine), spread("impostor", &figures.impostor))?;

    let failed = &figures.failure_to_acquire;
    writeln!(out, "\nFailure to acquire (FTA)")?;
    writeln!(out, "  references {}", counted(failed.references))?;
    writeln!(out, "  probes     {}", counted(failed.probes))?;
    writeln!(out, "  pairs      {}", counted(failed.pairs))?;
    for (reason, by_role) in &failed.reasons {
        writeln!(out, "    {reason:<24} {:>6} references {:>6} probes", by_role.references, by_role.probes)?;
    }

    writeln!(out, "\nOperating points of the pack")?;
    for point in &figures.operating_points {
        writeln!(out, "  {} at {} ({})", point.name, point.rates.threshold, point.evidence)?;
        writeln!(out, "    FMR      {}", counted(point.rates.false_match_rate))?;
        writeln!(out, "    FNMR     {}", counted(point.rates.false_non_match_rate))?;
        writeln!(out, "    accuracy {}", counted(point.accuracy))?;
        writeln!(out, "    FAR      {}", counted(point.false_accept_rate))?;
        writeln!(out, "    FRR      {} (failures to acquire count as rejected)", counted(point.false_reject_rate))?;
    }

    writeln!(out, "\nThresholds by false-match rate, with {:.0} % confidence", CONFIDENCE * 100.0)?;
    for threshold in &figures.thresholds {
        claim(out, threshold, pairs.impostor_compared)?;
    }
    match &figures.equal_error_rate {
        Some(equal) => writeln!(
            out,
            "\nEqual error rate (EER) {} at {:.4}: FMR {}, FNMR {}",
            rate(Some(equal.rate)),
            equal.rates.threshold,
            counted(equal.rates.false_match_rate),
            counted(equal.rates.false_non_match_rate)
        )?,
        None => writeln!(out, "\nEqual error rate (EER): needs comparisons of both kinds")?,
    }
    if let Some(guard) = &figures.replay_guard {
        writeln!(out, "\nReplay guard: pairs of which it takes one picture for a copy of the other")?;
        writeln!(out, "  genuine  {}", counted(guard.genuine))?;
        writeln!(out, "  impostor {}", counted(guard.impostor))?;
    }
    if !figures.rates.is_empty() {
        writeln!(out, "\n{:>10}  {:<34}FNMR", "threshold", "FMR")?;
    }
    for Rates { threshold, false_match_rate, false_non_match_rate } in &figures.rates {
        writeln!(out, "{threshold:>10.4}  {:<34}{}", interval(*false_match_rate), interval(*false_non_match_rate))?;
    }
    Ok(())
}

fn claim(out: &mut String, claim: &Claim, impostors: u64) -> fmt::Result {
    write!(out, "  FMR {:<7} ", claim.false_match_rate)?;
    match (claim.threshold, claim.least_supported) {
        (Some(threshold), _) => writeln!(
            out,
            "threshold {:.4}: FMR observed {}, FNMR {}",
            // Rounded down: a larger threshold would let more match.
            (f64::from(threshold) * 1e4).floor() / 1e4,
            counted(claim.observed_false_match_rate.unwrap_or_default()),
            counted(claim.false_non_match_rate.unwrap_or_default())
        ),
        (None, Some(least)) => writeln!(
            out,
            "not supported: {impostors} impostor pairs support FMR >= {}; it needs {} without a false match",
            rate(Some(least)),
            claim.impostors_needed
        ),
        (None, None) => writeln!(out, "not supported: there is no impostor pair"),
    }
}

/// `0.0125 [0.0003, 0.0677], 1 of 80`
fn counted(proportion: Proportion) -> String {
    format!("{}, {} of {}", interval(proportion), proportion.count, proportion.trials)
}

fn interval(proportion: Proportion) -> String {
    let (low, high) = proportion.interval(CONFIDENCE);
    format!("{} [{}, {}]", rate(proportion.rate()), rate(Some(low)), rate(Some(high)))
}

/// Enough digits to tell small rates apart.
fn rate(rate: Option<f64>) -> String {
    let mut out = String::new();
    let _ = match rate {
        None => write!(out, "-"),
        Some(rate) if rate == 0.0 || rate == 1.0 => write!(out, "{rate}"),
        Some(rate) if rate >= 1e-2 => write!(out, "{rate:.4}"),
        Some(rate) => write!(out, "{rate:.2e}"),
    };
    out
}
