//! Chance, from the host.

/// Random bits from the host: for jitter, and for a run's seed.
pub(super) fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}
