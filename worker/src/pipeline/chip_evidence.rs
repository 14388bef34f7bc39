//! What a pipeline knows of the chip besides the evidence: what was kept of it earlier in the session, by whom it may have
//! been attested, and what is kept of it for later.

use proofmill_contract::{ContractVersion, Evidence, Outcome, SessionStatus, settle};
use proofmill_jose::{Jws, VerifyingKey};
use proofmill_store::{LeasedAttempt, LostEvidence, SettleResult};
use proofmill_vault::SealedRef;

use super::Shared;
use super::work::{Stop, destroy, not_opened, with_cause};
use crate::attestation::{MAX_UNNAMED_KEYS, Reader, RegisteredKey, Standing};
use crate::engine::Fault;
use crate::kept::{ChipEvidence, Kept};

/// The session's kept chip evidence for selfies alone, else what was submitted.
pub(super) async fn source(shared: &Shared, lease: &LeasedAttempt) -> Result<ChipEvidence, Stop> {
    if !lease.selfies_only {
        // Contract 1 retries the whole attempt: there is nothing to keep for.
        return Ok(ChipEvidence::Submitted { keep: lease.session.contract_version == ContractVersion::V2 });
    }
    let lost = LostEvidence::KeptOfSession;
    let unopenable = |reason: &str| Stop::Unopenable(lost, format!("the session's kept chip evidence {reason}"));
    let sealed = lease.kept_chip_evidence.as_ref().ok_or_else(|| unopenable("is gone"))?;
    let opened = shared.parts.vault.open_kept(&lease.session.id, sealed).await;
    let opened = opened.map_err(|error| not_opened(lost, error))?;
    let kept = Kept::from_sealed(opened).ok_or_else(|| unopenable("is of another version of this program"))?;
    Ok(ChipEvidence::Kept(Box::new(kept)))
}

/// The registered keys by which the reader's statement may be signed, if there is one, and how the one stands by which
/// kept chip evidence was.
pub(super) async fn reader(
    shared: &Shared,
    lease: &LeasedAttempt,
    evidence: &Evidence,
    chip: &ChipEvidence,
) -> Result<Reader, Stop> {
    let kept = standing(shared, lease, chip).await?;
    let mut reader = Reader { attempt: Some(lease.attempt.id.clone()), keys: Vec::new(), kept };
    let statement = evidence.reader_attestation().and_then(|jws| std::str::from_utf8(jws).ok());
    // One that cannot be read is the gate's to refuse.
    let Some(statement) = statement.and_then(|text| Jws::parse(text).ok()) else { return Ok(reader) };
    let (store, organisation) = (&shared.parts.store, &lease.organisation.id);
    let found = match statement.key_id() {
        Some(kid) => store.reader_key(organisation, kid).await.map(|key| key.into_iter().collect()),
        // More are not tried: a statement must then name its key.
        None => store.active_reader_keys(organisation, MAX_UNNAMED_KEYS + 1).await.map(|mut keys| {
            if keys.len() > MAX_UNNAMED_KEYS {
                keys.clear();
            }
            keys
        }),
    };
    for row in found.map_err(|error| Fault::system("store", &error))? {
        let key = VerifyingKey::from_jwk(Some(&row.kid), &row.jwk)
            .map_err(|error| Fault::system("store", &format!("reader key {}: {error}", row.id)))?;
        reader.keys.push(RegisteredKey { id: row.id, key, revoked: row.revoked_at.is_some() });
    }
    Ok(reader)
}

async fn standing(shared: &Shared, lease: &LeasedAttempt, chip: &ChipEvidence) -> Result<Standing, Fault> {
    let ChipEvidence::Kept(kept) = chip else { return Ok(Standing::Unknown) };
    let Some(key) = kept.attested_by() else { return Ok(Standing::Unknown) };
    let found = shared.parts.store.reader_key_by_id(&lease.organisation.id, key).await;
    let row = found.map_err(|error| Fault::system("store", &error))?;
    Ok(row.map_or(Standing::Unknown, |row| match row.revoked_at {
        None => Standing::Valid,
        Some(_) => Standing::Revoked,
    }))
}

/// Seals chip evidence for the session, if the session goes on. Before the verdict is written and not after: killed in
/// between, this leaves an object that nothing refers to, and no session that promises what nobody has.
pub(super) async fn keep(
    shared: &Shared,
    lease: &LeasedAttempt,
    outcome: Outcome,
    kept: Option<Kept>,
) -> Result<Option<SealedRef>, Fault> {
    let session = &lease.session;
    let next = settle(session.contract_version, SessionStatus::InProgress, session.counters, outcome);
    let Some(kept) = kept.filter(|_| next.is_some_and(|next| !next.session.is_terminal())) else { return Ok(None) };
    let fault = |error: String| Fault::system("vault", &format!("chip evidence not kept: {error}"));
    let kept = kept.into_sealable().map_err(|error| fault(error.to_string()))?;
    let sealed = shared.parts.vault.seal_kept(&session.id, &kept, shared.parts.clock.now()).await;
    sealed.map(Some).map_err(|error| fault(with_cause(&error)))
}

/// Destroys chip evidence that was sealed for a verdict which was not written. `AlreadySettled` may be our own verdict,
/// written by a try whose answer was lost: then the session refers to it, and if not, the sweep finds it.
pub(super) async fn discard_unwritten(shared: &Shared, kept: Option<SealedRef>, result: &SettleResult) {
    if matches!(result, SettleResult::LostLease | SettleResult::SessionEnded | SettleResult::Conflict(_)) {
        destroy(shared, kept.iter().map(|kept| &kept.object)).await;
    }
}
