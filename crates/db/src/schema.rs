//! The tables as diesel sees them; the truth is `migrations/`.

diesel::table! {
    settings (name) { name -> Text, value -> Text, }
}

diesel::table! {
    workflows (id) {
        id -> Text,
        name -> Text,
        description -> Text,
        version -> Integer,
        created_at -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    workflow_versions (workflow_id, version) {
        workflow_id -> Text,
        version -> Integer,
        graph -> Text,
        input_schema -> Text,
        outputs -> Text,
        requirements -> Nullable<Text>,
        created_at -> BigInt,
    }
}

diesel::table! {
    jobs (id) {
        id -> Text,
        owner -> Text,
        workflow_id -> Text,
        workflow_version -> Integer,
        status -> Text,
        priority -> Integer,
        inputs -> Text,
        params -> Text,
        resolved -> Text,
        metadata -> Text,
        request_id -> Nullable<Text>,
        correlation_id -> Text,
        timeout_ms -> Nullable<BigInt>,
        not_before -> Nullable<BigInt>,
        retry_of -> Nullable<Text>,
        nodes_total -> Integer,
        attempt -> Integer,
        crashes -> Integer,
        epoch -> BigInt,
        worker_id -> Nullable<Text>,
        backend -> Nullable<Text>,
        prompt_id -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        cancel_requested -> Bool,
        created_at -> BigInt,
        dispatched_at -> Nullable<BigInt>,
        started_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
        store_ms -> Nullable<BigInt>,
        error -> Nullable<Text>,
        needs -> Nullable<Text>,
        options -> Nullable<Text>,
    }
}

diesel::table! {
    outputs (job_id, file) {
        job_id -> Text,
        file -> Text,
        position -> Integer,
        node_id -> Text,
        kind -> Text,
        content_type -> Text,
        size -> BigInt,
        sha256 -> Text,
        width -> Nullable<Integer>,
        height -> Nullable<Integer>,
        storage_key -> Text,
        created_at -> BigInt,
        removed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    job_logs (job_id, seq) {
        job_id -> Text,
        seq -> Integer,
        time -> BigInt,
        level -> Text,
        event -> Text,
        message -> Text,
        node -> Nullable<Text>,
    }
}

diesel::table! {
    trash (prefix) { prefix -> Text, created_at -> BigInt, }
}

diesel::table! {
    joined_jobs (job_id) { job_id -> Text, leader_id -> Text, }
}

diesel::table! {
    flights (cache_key) { cache_key -> Text, job_id -> Text, }
}

diesel::table! {
    cache_entries (cache_key) {
        cache_key -> Text,
        job_id -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    idempotency (owner, key) {
        owner -> Text,
        key -> Text,
        body_hash -> Text,
        subject_id -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    deliveries (id) {
        id -> Text,
        owner -> Text,
        subject_id -> Text,
        event -> Text,
        url -> Text,
        host -> Text,
        body -> Text,
        correlation_id -> Text,
        status -> Text,
        tries -> Integer,
        failures -> Integer,
        next_at -> BigInt,
        lease_until -> Nullable<BigInt>,
        created_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        trace_parent -> Nullable<Text>,
    }
}

diesel::table! {
    delivery_tries (delivery_id, seq) {
        delivery_id -> Text,
        seq -> Integer,
        time -> BigInt,
        http_status -> Nullable<Integer>,
        duration_ms -> BigInt,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    uploads (id) {
        id -> Text,
        owner -> Text,
        sha256 -> Text,
        size -> BigInt,
        kind -> Text,
        content_type -> Text,
        width -> Nullable<Integer>,
        height -> Nullable<Integer>,
        storage_key -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    job_uploads (job_id, upload_id) { job_id -> Text, upload_id -> Text, }
}

diesel::table! {
    batches (id) {
        id -> Text,
        owner -> Text,
        workflow_id -> Text,
        total -> Integer,
        open -> Integer,
        callback -> Nullable<Text>,
        metadata -> Text,
        correlation_id -> Text,
        created_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        trace_parent -> Nullable<Text>,
    }
}

diesel::table! {
    batch_jobs (batch_id, position) { batch_id -> Text, position -> Integer, job_id -> Text, }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        name -> Text,
        role -> Text,
        hash -> Text,
        rights -> Text,
        created_at -> BigInt,
        created_by -> Text,
        expires_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit (seq) {
        seq -> BigInt,
        time -> BigInt,
        actor -> Text,
        action -> Text,
        target -> Text,
        correlation_id -> Text,
        address -> Text,
        detail -> Text,
        hash -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    workflows,
    workflow_versions,
    jobs,
    outputs,
    job_logs,
    joined_jobs,
    flights,
    cache_entries,
    deliveries,
    delivery_tries,
    uploads,
    job_uploads,
    batches,
    batch_jobs
);
diesel::joinable!(workflow_versions -> workflows (workflow_id));
