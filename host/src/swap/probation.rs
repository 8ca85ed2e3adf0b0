//! Probation: a component that has just taken over is watched for its first jobs, and must do no worse than the one
//! before it by more than a margin.

use crate::sandbox::JobCounts;

/// How long and how strictly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbationSettings {
    /// Jobs; 0: none.
    pub jobs: u64,
    /// How much larger the share of bad jobs may be than it was before, 0 to 1.
    pub margin: f64,
}

/// What is to become of a component on probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// More jobs are needed.
    Wait,
    /// It does no worse.
    Confirm,
    /// It does worse; how.
    RollBack(String),
}

/// Judges a component by its counts and by those of the one that worked before it.
///
/// Each kind of bad job (crash, failure, empty reading) may happen as often in the whole probation as the old component's
/// share of them says, plus the margin. Whoever exceeds that is rolled back at once, not at the end.
pub fn judge(settings: ProbationSettings, before: JobCounts, now: JobCounts) -> Judgement {
    let kinds = [
        ("traps and limits", before.crashes, now.crashes),
        ("failures", before.failures, now.failures),
        ("readings without vendor and total", before.empty, now.empty),
    ];
    for (kind, before_count, count) in kinds {
        // Few jobs say little: one bad one of one must not excuse everything.
        let share = (before_count as f64 / before.jobs.max(settings.jobs).max(1) as f64).min(1.0);
        let allowed = (share + settings.margin).min(1.0) * settings.jobs as f64;
        if count as f64 > allowed {
            return Judgement::RollBack(format!(
                "{count} {kind} in its first {} jobs; {allowed:.1} in {} are allowed ({:.1} % before, and a margin of {:.1} %)",
                now.jobs,
                settings.jobs,
                share * 100.0,
                settings.margin * 100.0,
            ));
        }
    }
    if now.jobs >= settings.jobs { Judgement::Confirm } else { Judgement::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ProbationSettings = ProbationSettings { jobs: 100, margin: 0.05 };

    fn counts(jobs: u64, crashes: u64, failures: u64) -> JobCounts {
        JobCounts { jobs, crashes, failures, empty: 0 }
    }

    #[test]
    fn one_that_does_no_worse_is_confirmed_after_its_jobs() {
        let before = counts(1000, 0, 20);
        assert_eq!(judge(SETTINGS, before, counts(99, 0, 2)), Judgement::Wait);
        assert_eq!(judge(SETTINGS, before, counts(100, 5, 7)), Judgement::Confirm);
    }

    #[test]
    fn one_that_does_worse_is_rolled_back_as_soon_as_it_is_clear() {
        let before = counts(1000, 0, 20);
        assert!(
            matches!(judge(SETTINGS, before, counts(6, 6, 0)), Judgement::RollBack(why) if why.contains("6 traps"))
        );
        assert!(matches!(judge(SETTINGS, before, counts(50, 0, 8)), Judgement::RollBack(why) if why.contains("2.0 %")));
        assert_eq!(judge(SETTINGS, before, counts(50, 0, 7)), Judgement::Wait);
    }

    #[test]
    fn empty_readings_count() {
        let now = JobCounts { jobs: 6, empty: 6, ..JobCounts::default() };
        assert!(matches!(judge(SETTINGS, JobCounts::default(), now), Judgement::RollBack(_)));
    }

    #[test]
    fn what_failed_always_may_go_on_failing() {
        assert_eq!(judge(SETTINGS, counts(100, 100, 100), counts(100, 100, 100)), Judgement::Confirm);
    }

    #[test]
    fn one_bad_job_of_one_excuses_nothing() {
        assert!(matches!(judge(SETTINGS, counts(1, 0, 1), counts(7, 0, 7)), Judgement::RollBack(_)));
    }
}
