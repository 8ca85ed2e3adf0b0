//! Which component works first: the one that was named, or the last one that proved itself where that one was rolled back
//! or its probation was cut off.

use std::time::Duration;

use super::candidate::Candidate;
use super::deployed::Deployed;
use super::error::StartError;
use super::ledger::in_words;
use super::store::ComponentStore;
use super::trust::{Distrusted, Trust};
use crate::queue::{Database, QueueError, components};
use crate::sandbox::{EMBEDDED, LoadError, Sandbox};
use crate::storage::digest_of;

/// How often the ledger is asked at the start, and how soon again.
const LEDGER_TRIES: u32 = 3;
const LEDGER_PAUSE: Duration = Duration::from_millis(300);

/// What the ledger knows of the component that a host is to start with.
#[derive(Default)]
pub(super) struct History {
    /// Why it was rolled back.
    pub(super) rolled_back: Option<String>,
    /// Its probation was cut off.
    unproven: bool,
    /// The digest that proved itself last.
    proven: Option<String>,
}

impl History {
    /// Where the database cannot say, nobody knows whether it was rolled back: asked again for a moment, and then told.
    pub(super) async fn query(database: &Database, digest: &str) -> Self {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::query_once(database, digest).await {
                Ok(history) => return history,
                Err(error) if tries == LEDGER_TRIES || error.is_permanent() => {
                    tracing::error!(
                        name: "ledger.history_unknown",
                        component = digest,
                        %error,
                        "it cannot be told whether this component was rolled back; it is taken for trusted"
                    );
                    return Self::default();
                }
                Err(_) => tokio::time::sleep(LEDGER_PAUSE).await,
            }
        }
    }

    async fn query_once(database: &Database, digest: &str) -> Result<Self, QueueError> {
        let client = database.connect().await?;
        let (distrust, unproven, proven) = tokio::try_join!(
            components::distrusted(&client, digest),
            components::unproven(&client, digest),
            components::last_confirmed(&client),
        )?;
        Ok(Self { rolled_back: distrust.map(|distrust| in_words(&distrust)), unproven, proven })
    }
}

/// Loads it. The first component has nobody to be compared with; all else is checked as for any other.
pub(super) fn load(
    sandbox: &Sandbox,
    trust: &Trust,
    candidate: Candidate,
    store: Option<&ComponentStore>,
    history: History,
) -> Result<Deployed, StartError> {
    let digest = digest_of(&candidate.bytes);
    let name = candidate.name.clone();
    check(trust, &candidate).map_err(|source| StartError::Distrusted { name: name.clone(), source })?;
    let proven = history.proven.and_then(|digest| last_proven(digest, trust, store));
    if let Some(why) = history.rolled_back {
        let Some(mut proven) = proven else { return Err(StartError::RolledBack { name, digest, why }) };
        proven.name = format!("the component that was confirmed last ({name} is refused)");
        tracing::error!(name: "swap.start_refused", "{name} is refused: {why}; starting with {}", proven.name);
        return Ok(deploy(sandbox, proven)?);
    }
    match proven {
        Some(mut proven) if proven.bytes != candidate.bytes && history.unproven => {
            proven.name = format!("the component that was confirmed last ({name} has yet to prove itself)");
            tracing::warn!(
                name: "swap.start_unproven",
                "{name} was put to work before and did not end its probation; starting with {}",
                proven.name
            );
            Ok(deploy(sandbox, proven)?)
        }
        _ => Ok(deploy(sandbox, candidate)?),
    }
}

/// What is built in came with the host: whoever trusts the one trusts the other.
pub(super) fn check(trust: &Trust, candidate: &Candidate) -> Result<(), Distrusted> {
    if candidate.bytes == EMBEDDED {
        return Ok(());
    }
    trust.check(&digest_of(&candidate.bytes), &candidate.bytes, candidate.signature.as_deref())
}

pub(super) fn deploy(sandbox: &Sandbox, candidate: Candidate) -> Result<Deployed, LoadError> {
    let Candidate { name, bytes, signature } = candidate;
    let program = sandbox.load_bytes(&name, &bytes)?;
    Ok(Deployed::new(name, bytes, signature, program))
}

fn last_proven(digest: String, trust: &Trust, store: Option<&ComponentStore>) -> Option<Candidate> {
    let (bytes, signature) = match digest == digest_of(EMBEDDED) {
        true => (EMBEDDED.to_vec(), None),
        false => store?.load(&digest)?,
    };
    let proven = Candidate { name: digest, bytes, signature };
    check(trust, &proven).ok().map(|()| proven)
}
