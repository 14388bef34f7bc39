//! Sessions, organisations, API keys: written, read, listed, kept apart.

use std::time::Duration;

use proofmill_contract::{ApiKeyId, ContractVersion, EndpointId, SessionStatus, Timestamp};

use super::harness::{START, World, new_organisation, new_session, on_both, on_postgres};
use crate::{
    CancelResult, EndpointUpdate, NewApiKey, OrganisationUpdate, PageRequest, SessionFilter, Store, StoreConfig,
    StoreError, StoreKind,
};

on_both!(
    a_session_reads_back_as_it_was_written,
    another_organisations_session_is_not_there,
    pages_are_newest_first_stable_and_refuse_unknown_cursors,
    endpoints_of_a_session_must_be_enabled_and_the_organisations,
    an_organisation_and_its_keys_read_back_and_change,
    migrations_run_from_several_processes_at_once_and_readiness_tells_when_they_have_not,
);

async fn a_session_reads_back_as_it_was_written(world: World) {
    let created = world.session(ContractVersion::V1, START).await;
    let read = world.store.session(None, &created.id, START).await.unwrap().unwrap();
    assert_eq!(read.id, created.id);
    assert_eq!(read.contract_version, ContractVersion::V1);
    assert_eq!(read.status, SessionStatus::Created);
    assert_eq!(read.share_fields, created.share_fields);
    assert_eq!(read.redirect_url.as_deref(), Some("https://shop.example/back"));
    assert_eq!(read.created_at, START);
    assert_eq!(read.completed_at, None);
    assert!(!read.chip_evidence_kept);
}

async fn another_organisations_session_is_not_there(world: World) {
    let session = world.session(ContractVersion::V2, START).await;
    let other = new_organisation(&world.store).await;
    assert!(world.store.session(Some(&other), &session.id, START).await.unwrap().is_none());
    let cancelled = world.store.cancel_session(Some(&other), &session.id, START).await.unwrap();
    assert_eq!(cancelled, CancelResult::NotFound);
    let attempt = world.attempt(&session.id, START).await;
    assert!(world.store.attempt(Some(&other), &attempt.id, START).await.unwrap().is_none());
    assert_eq!(world.reload(&session.id, START).await.status, SessionStatus::Created);
}

async fn pages_are_newest_first_stable_and_refuse_unknown_cursors(world: World) {
    let mut ids = Vec::new();
    for second in 0..5 {
        ids.push(world.session(ContractVersion::V2, START.plus(Duration::from_secs(second))).await.id);
    }
    let now = START.plus(Duration::from_secs(10));
    let list = |filter: SessionFilter, limit: u32, after: Option<String>| {
        let page = PageRequest { limit, starting_after: after };
        world.store.list_sessions(&world.organisation, filter, page, now)
    };
    let first = list(SessionFilter::default(), 2, None).await.unwrap();
    assert_eq!(first.items.iter().map(|s| &s.id).collect::<Vec<_>>(), [&ids[4], &ids[3]]);
    assert!(first.has_more);

    // A session created between two pages does not shift the second one.
    world.session(ContractVersion::V2, now).await;
    let second = list(SessionFilter::default(), 2, first.next_cursor).await.unwrap();
    assert_eq!(second.items.iter().map(|s| &s.id).collect::<Vec<_>>(), [&ids[2], &ids[1]]);
    let last = list(SessionFilter::default(), 2, second.next_cursor).await.unwrap();
    assert_eq!(last.items.iter().map(|s| &s.id).collect::<Vec<_>>(), [&ids[0]]);
    assert!(!last.has_more && last.next_cursor.is_none());

    let from = SessionFilter { created_from: Some(START.plus(Duration::from_secs(3))), ..Default::default() };
    assert_eq!(list(from, 100, None).await.unwrap().items.len(), 3);
    world.store.cancel_session(None, &ids[1], now).await.unwrap();
    let cancelled = SessionFilter { status: Some(SessionStatus::Cancelled), ..Default::default() };
    assert_eq!(list(cancelled, 100, None).await.unwrap().items[0].id, ids[1]);

    // Times are shown in whole milliseconds: what shows one moment is within it.
    let between = START.plus(Duration::from_micros(20_000_456));
    let latest = world.session(ContractVersion::V2, between).await;
    let shown = Some(Timestamp::from_millis(between.as_millis()));
    let moment = SessionFilter { created_from: shown, created_to: shown, ..Default::default() };
    assert_eq!(list(moment, 100, None).await.unwrap().items.iter().map(|s| &s.id).collect::<Vec<_>>(), [&latest.id]);

    let other = new_organisation(&world.store).await;
    let page = PageRequest { limit: 10, starting_after: Some(ids[0].to_string()) };
    let foreign = world.store.list_sessions(&other, SessionFilter::default(), page, now).await;
    assert!(matches!(foreign, Err(StoreError::InvalidCursor)));
    let nonsense = list(SessionFilter::default(), 10, Some("vs_nothing".into())).await;
    assert!(matches!(nonsense, Err(StoreError::InvalidCursor)));
}

async fn endpoints_of_a_session_must_be_enabled_and_the_organisations(world: World) {
    let mine = world.endpoint(vec![], 72, START).await;
    let disabled = world.endpoint(vec![], 72, START).await;
    let update = EndpointUpdate { enabled: Some(false), ..Default::default() };
    world.store.update_endpoint(&world.organisation, &disabled, update, START).await.unwrap().unwrap();
    let unknown = EndpointId::generate(START, &mut rand::rng());

    let create = |endpoints: Vec<EndpointId>| {
        let new = new_session(&world.organisation, ContractVersion::V2, Some(endpoints), START);
        world.store.create_session(new, START)
    };
    let created = create(vec![mine.clone()]).await.unwrap();
    assert_eq!(created.webhook_endpoint_ids, Some(vec![mine.clone()]));
    for bad in [disabled, unknown] {
        match create(vec![mine.clone(), bad.clone()]).await {
            Err(StoreError::EndpointUnavailable(id)) => assert_eq!(id, bad),
            other => panic!("{:?}", other.map(|session| session.id)),
        }
    }
    let other = new_organisation(&world.store).await;
    let new = new_session(&other, ContractVersion::V2, Some(vec![mine]), START);
    assert!(matches!(world.store.create_session(new, START).await, Err(StoreError::EndpointUnavailable(_))));
}

async fn an_organisation_and_its_keys_read_back_and_change(world: World) {
    let store = &world.store;
    let later = START.plus(Duration::from_secs(1));
    let update = OrganisationUpdate { default_contract_version: Some(ContractVersion::V1), ..Default::default() };
    let changed = store.update_organisation(&world.organisation, update, later).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.default_contract_version), ("Example Bank", ContractVersion::V1));
    assert_eq!((changed.created_at, changed.updated_at), (START, later));
    assert_eq!(changed.document_id_key_sealed, [1, 2, 3]);
    let stale = OrganisationUpdate { sandbox: Some(false), if_unchanged_since: Some(START), ..Default::default() };
    let refused = store.update_organisation(&world.organisation, stale.clone(), later).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    let fresh = OrganisationUpdate { if_unchanged_since: Some(later), ..stale };
    let live = store.update_organisation(&world.organisation, fresh, later).await.unwrap().unwrap();
    assert!(!live.sandbox && live.default_contract_version == ContractVersion::V1);
    assert_eq!(store.list_organisations().await.unwrap().len(), 1);

    let key = |prefix: &str, byte: u8| NewApiKey {
        id: ApiKeyId::generate(START, &mut rand::rng()),
        organisation_id: world.organisation.clone(),
        prefix: prefix.into(),
        hash: [byte; 32],
        scopes: vec!["sessions:read".into()],
    };
    let (first, twin) = (key("kk_abc", 1), key("kk_abc", 2));
    let first_id = first.id.clone();
    store.create_api_key(first, START).await.unwrap();
    store.create_api_key(twin, START).await.unwrap();
    let found = store.api_keys_by_prefix("kk_abc").await.unwrap();
    assert_eq!(found.len(), 2, "a prefix is no unique name");
    assert!(found.iter().all(|key| key.revoked_at.is_none() && key.scopes == ["sessions:read"]));
    assert!(store.api_keys_by_prefix("kk_ab").await.unwrap().is_empty());

    let other = new_organisation(store).await;
    assert!(!store.revoke_api_key(&other, &first_id, later).await.unwrap());
    assert!(store.revoke_api_key(&world.organisation, &first_id, later).await.unwrap());
    assert!(!store.revoke_api_key(&world.organisation, &first_id, later).await.unwrap());
    let keys = store.list_api_keys(&world.organisation).await.unwrap();
    assert_eq!(keys.iter().filter(|key| key.revoked_at == Some(later)).count(), 1);
}

async fn migrations_run_from_several_processes_at_once_and_readiness_tells_when_they_have_not(world: World) {
    world.store.ready().await.unwrap();
    let tables = "deliveries idempotency_keys events encryption_keys signing_secrets endpoint_breakers webhook_endpoints attempts \
                  sessions retired_id_keys reader_keys api_keys organisations __diesel_schema_migrations";
    for table in tables.split_whitespace() {
        world.store.execute(&format!("DROP TABLE {table}")).await.unwrap();
    }
    let opened = || Store::open(StoreConfig { url: world.url.clone(), pool_size: 2 });
    let (a, b) = (opened().await.unwrap(), opened().await.unwrap());
    assert!(matches!(a.ready().await, Err(StoreError::Configuration(_))));
    let (first, second) = tokio::join!(a.migrate(), b.migrate());
    first.unwrap();
    second.unwrap();
    a.ready().await.unwrap();
    new_organisation(&b).await;
}

#[tokio::test]
async fn an_unusable_url_is_a_configuration_error_that_does_not_quote_it() {
    for url in ["mysql://user:hunter2@host/db", "store.db", "sqlite::memory:", "sqlite:"] {
        let error = Store::open(StoreConfig { url: url.into(), pool_size: 2 }).await.err().unwrap();
        assert!(matches!(error, StoreError::Configuration(_)), "{url}");
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
fn connections_that_the_server_closed_are_replaced() {
    on_postgres(|world| async move {
        let end_all = "SELECT CAST(count(pg_terminate_backend(pid, 5000)) AS TEXT) AS text FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.store.organisation(&world.organisation).await.unwrap().unwrap();
        let killer = Store::open(StoreConfig { url: world.url.clone(), pool_size: 1 }).await.unwrap();
        assert_ne!(killer.texts(end_all).await.unwrap(), ["0"]);
        world.store.organisation(&world.organisation).await.unwrap().unwrap();
        world.session(ContractVersion::V2, START).await;
    });
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url = "postgres://postgres@127.0.0.1:1/none".to_owned();
    let error = Store::open(StoreConfig { url, pool_size: 1 }).await.err().unwrap();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "it says where: {error}");
}

#[tokio::test]
async fn sqlite_syncs_every_commit_and_enforces_foreign_keys() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("s.sqlite").display());
    let store = Store::open(StoreConfig { url, pool_size: 2 }).await.unwrap();
    assert_eq!(store.kind(), StoreKind::Sqlite);
    let pragma = |name: &str| format!("SELECT CAST({name} AS TEXT) AS text FROM pragma_{name}");
    assert_eq!(store.texts(&pragma("journal_mode")).await.unwrap(), ["wal"]);
    assert_eq!(store.texts(&pragma("synchronous")).await.unwrap(), ["2"]);
    assert_eq!(store.texts(&pragma("foreign_keys")).await.unwrap(), ["1"]);
    assert_eq!(store.texts(&pragma("secure_delete")).await.unwrap(), ["1"]);
}
