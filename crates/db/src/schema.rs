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

diesel::allow_tables_to_appear_in_same_query!(workflows, workflow_versions, jobs, outputs, job_logs);
diesel::joinable!(workflow_versions -> workflows (workflow_id));
