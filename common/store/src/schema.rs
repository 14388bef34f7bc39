//! The tables, once for both databases: text ids, microseconds, bytes, booleans, JSON as text.

diesel::table! {
    organisations (id) {
        id -> Text,
        name -> Text,
        default_contract_version -> Integer,
        policy -> Text,
        sandbox -> Bool,
        document_id_key_sealed -> Binary,
        document_id_key_version -> Integer,
        human_id_key_sealed -> Binary,
        human_id_key_version -> Integer,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        organisation_id -> Text,
        prefix -> Text,
        hash -> Binary,
        scopes -> Text,
        created_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    reader_keys (id) {
        id -> Text,
        organisation_id -> Text,
        kid -> Text,
        name -> Nullable<Text>,
        jwk -> Text,
        created_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        organisation_id -> Text,
        contract_version -> Integer,
        status -> Text,
        share_fields -> Text,
        redirect_url -> Nullable<Text>,
        webhook_endpoint_ids -> Nullable<Text>,
        cancel_token_hash -> Binary,
        cancel_token_used_at -> Nullable<BigInt>,
        nfc_tries_used -> Integer,
        liveness_tries_used -> Integer,
        rejected_attempts -> Integer,
        failure_code -> Nullable<Text>,
        kept_object -> Nullable<Text>,
        kept_epoch -> Nullable<Text>,
        kept_wrapped_key -> Nullable<Binary>,
        expires_at -> BigInt,
        completed_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        document_id_key_version -> Nullable<Integer>,
        human_id_key_version -> Nullable<Integer>,
        withdrawal_requested_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    retired_id_keys (organisation_id, kind, version) {
        organisation_id -> Text,
        kind -> Text,
        version -> Integer,
        sealed -> Binary,
        retired_at -> BigInt,
    }
}

diesel::table! {
    attempts (id) {
        id -> Text,
        session_id -> Text,
        status -> Text,
        lane -> Text,
        challenge -> Binary,
        handoff_expires_at -> BigInt,
        submitted_at -> Nullable<BigInt>,
        evidence_fingerprint -> Nullable<Binary>,
        evidence_object -> Nullable<Text>,
        evidence_epoch -> Nullable<Text>,
        evidence_wrapped_key -> Nullable<Binary>,
        selected_field_keys -> Nullable<Text>,
        chip_evidence_kept_used -> Bool,
        failure_code -> Nullable<Text>,
        checks -> Nullable<Text>,
        outbox_at -> Nullable<BigInt>,
        queued_at -> Nullable<BigInt>,
        published_at -> Nullable<BigInt>,
        lease_token -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        lease_tries -> Integer,
        quarantined_at -> Nullable<BigInt>,
        quarantine_reason -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        completed_at -> Nullable<BigInt>,
        terminal_object -> Nullable<Text>,
        terminal_epoch -> Nullable<Text>,
        terminal_wrapped_key -> Nullable<Binary>,
    }
}

diesel::table! {
    webhook_endpoints (id) {
        id -> Text,
        organisation_id -> Text,
        url -> Text,
        name -> Nullable<Text>,
        labels -> Text,
        enabled -> Bool,
        subscribed_event_types -> Text,
        retention_hours -> Integer,
        created_at -> BigInt,
        updated_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    signing_secrets (endpoint_id, generation) {
        endpoint_id -> Text,
        generation -> Integer,
        sealed -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    encryption_keys (id) {
        id -> Text,
        endpoint_id -> Text,
        key_id -> Text,
        jwk -> Text,
        active -> Bool,
        created_at -> BigInt,
        deactivated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    events (id) {
        id -> Text,
        organisation_id -> Text,
        session_id -> Text,
        attempt_id -> Nullable<Text>,
        event_type -> Text,
        contract_version -> Integer,
        terminal -> Bool,
        superseded_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    deliveries (id) {
        id -> Text,
        event_id -> Text,
        endpoint_id -> Text,
        organisation_id -> Text,
        session_id -> Text,
        event_type -> Text,
        status -> Text,
        reason -> Nullable<Text>,
        payload -> Nullable<Text>,
        payload_expires_at -> Nullable<BigInt>,
        tries -> Integer,
        next_attempt_at -> Nullable<BigInt>,
        lease_token -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        maybe_received -> Bool,
        last_status_code -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        delivered_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        give_up_at -> Nullable<BigInt>,
        retry_requested_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    endpoint_breakers (endpoint_id) {
        endpoint_id -> Text,
        failures -> Integer,
        openings -> Integer,
        open_until -> Nullable<BigInt>,
        updated_at -> BigInt,
        last_tries -> Bool,
    }
}

diesel::table! {
    idempotency_keys (organisation_id, route, key) {
        organisation_id -> Text,
        route -> Text,
        key -> Text,
        fingerprint -> Binary,
        lease_token -> Text,
        lease_until -> BigInt,
        response_status -> Nullable<Integer>,
        response_sealed -> Nullable<Binary>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::joinable!(sessions -> organisations (organisation_id));
diesel::joinable!(attempts -> sessions (session_id));
diesel::joinable!(encryption_keys -> webhook_endpoints (endpoint_id));
diesel::allow_tables_to_appear_in_same_query!(
    organisations,
    sessions,
    attempts,
    webhook_endpoints,
    encryption_keys,
    events,
    deliveries,
    endpoint_breakers,
);
