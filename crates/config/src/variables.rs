//! The table of variables: what `.env.example` and the configuration page are made of. Parses nothing.

/// One variable of the environment or of `.env`.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default, as it would be written; empty for "not set".
    pub default: &'static str,
    /// What it is for, in one line.
    pub purpose: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

/// Which processes read a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// All of them.
    All,
    /// Those that serve the API: `run`.
    Apis,
    /// Those that work the queue: `worker`, and `run` without `REDIS_URL` or with `--with-worker`.
    Workers,
    /// Commands that talk to a running gateway.
    Commands,
}

impl Variable {
    /// Which processes read it.
    #[must_use]
    pub fn readers(&self) -> Readers {
        let named = READERS.iter().find(|(_, names)| names.contains(&self.name));
        named.map_or(Readers::All, |(readers, _)| *readers)
    }
}

const fn plain(name: &'static str, default: &'static str, purpose: &'static str) -> Variable {
    Variable { name, default, purpose, secret: false }
}

const fn secret(name: &'static str, purpose: &'static str) -> Variable {
    Variable { name, default: "", purpose, secret: true }
}

/// Every variable that is read.
pub const VARIABLES: &[Variable] = &[
    plain("PORT", "3000", "API server port; 0 takes a free one; 0–65535"),
    plain("HOST", "0.0.0.0", "API bind address, and that of `WORKER_PORT`; an IP address or a host name"),
    plain(
        "COMFYUI_URL",
        "http://127.0.0.1:8188",
        "ComfyUI server URL; may hold a path prefix and user:password; several, comma-separated",
    ),
    plain("COMFYUI_TIMEOUT_MS", "300000", "Longest run of one job in ComfyUI, 1000–21600000"),
    secret("COMFYUI_HEADERS", "Extra headers for ComfyUI behind a proxy: `Name: value`, separated by `|`"),
    plain("COMFYUI_POLL_MS", "1000", "How often open prompts are looked up over HTTP, 50–60000"),
    secret("API_KEYS", "Comma-separated API keys: `key:role`, or `key:role:name`; the role is `admin` or `user`"),
    secret(
        "JWT_SECRET",
        "Secret of HS256 tokens, at least 32 bytes (empty = no tokens, unless one of the next ones is set)",
    ),
    plain(
        "JWT_PUBLIC_KEY",
        "",
        "Public key of tokens: a PEM text, in which `\\n` may stand for the ends of lines, or the path of a file",
    ),
    plain("JWT_ALGORITHM", "RS256", "What `JWT_PUBLIC_KEY` is for: `RS256`, `ES256` or `EdDSA`"),
    plain("JWT_JWKS_FILE", "", "Path of a file with several public keys of tokens (a JWK set)"),
    plain("JWT_AUDIENCE", "", "What `aud` of tokens must name"),
    plain("JWT_ISSUER", "", "What `iss` of tokens must be"),
    plain("JWT_ROLE_CLAIM", "role", "The claim of tokens that holds the role"),
    secret(
        "GATEWAY_API_KEY",
        "The key that the commands `submit`, `add-workflow`, `list-workflows`, `keys`, `audit`, `health`, `mcp` and `demo` show to a running gateway",
    ),
    plain("TRUSTED_PROXIES", "", "Addresses or networks of proxies whose `X-Forwarded-For` counts, comma-separated"),
    secret("REDIS_URL", "Redis URL (empty = in-process queue); rediss:// for TLS"),
    plain("REDIS_PREFIX", "gateway", "What all keys in Redis begin with, as a hash tag; 1–64 of `A-Z a-z 0-9 - _ . :`"),
    plain("DATABASE_URL", "./data/gateway.db", "SQLite path or Postgres URL"),
    plain("DATABASE_POOL_SIZE", "8", "Connections that read the database, 1–256"),
    plain("DATABASE_STATEMENT_TIMEOUT_MS", "15000", "How long one statement may take in Postgres, 100–600000"),
    plain("STORAGE_PROVIDER", "local", "local or s3"),
    plain("STORAGE_LOCAL_PATH", "./data/outputs", "Local output directory"),
    plain("S3_ENDPOINT", "", "S3/MinIO endpoint; not set: AWS"),
    plain("S3_BUCKET", "", "S3 bucket name"),
    secret("S3_ACCESS_KEY", "S3 access key"),
    secret("S3_SECRET_KEY", "S3 secret key"),
    plain("S3_REGION", "us-east-1", "S3 region; `auto` for Cloudflare R2, `garage` for Garage as it comes"),
    plain("S3_PATH_STYLE", "", "Bucket in the path, not in the host name (empty = true where S3_ENDPOINT is set)"),
    plain("S3_PREFIX", "", "What all keys in the bucket begin with; such as `team/gateway`"),
    secret("WEBHOOK_SECRET", "HMAC signing secret for webhooks; `new,old` while it is replaced"),
    plain(
        "WEBHOOK_ALLOWED_DOMAINS",
        "*",
        "Comma-separated allowed callback domains: `*`, `example.com`, `*.example.com`, `host:8080` (private only where named), or `none`",
    ),
    plain("WEBHOOK_REQUIRE_HTTPS", "", "Plain `http://` callbacks only to named hosts (empty = true in production)"),
    plain("MAX_CONCURRENCY", "1", "Parallel jobs per GPU, 1–256"),
    plain("MAX_IMAGE_SIZE", "2048", "Maximum dimension (width or height), 16–65536"),
    plain("MAX_BATCH_SIZE", "4", "Maximum batch size, 1–4096"),
    plain("CACHE_ENABLED", "true", "Enable result caching"),
    plain(
        "CACHE_TTL_SECONDS",
        "86400",
        "Cache TTL (24h): how long a result serves others, from when it was made; 1–31536000",
    ),
    plain("CACHE_SCOPE", "owner", "Who may get whose cached results: `owner` (each its own) or `global`"),
    plain("MAX_UPLOAD_BYTES", "33554432", "Largest file that a caller may hand in, 1024–17179869184"),
    plain("UPLOAD_TTL", "86400", "Seconds that an uploaded file is kept which no job uses, 60–31536000"),
    plain("INPUT_ALLOWED_DOMAINS", "*", "Comma-separated hosts that input files may be fetched from, written alike"),
    plain("MAX_INLINE_BYTES", "16777216", "Most bytes of outputs that one answer holds as base64, 1024–1073741824"),
    plain(
        "OPENAI_MODELS",
        "",
        "Models of OpenAI's images API: `model=workflow/edit-workflow/inpaint-workflow`, comma-separated; the last two may be left out",
    ),
    plain(
        "PUBLIC_URL",
        "",
        "What whole URLs in answers of that API and to agents begin with (empty = the host that the request names)",
    ),
    plain("MCP_WAIT_SECONDS", "600", "How long a call of a tool (MCP) waits for its job, 1–21600"),
    plain(
        "MCP_INLINE_BYTES",
        "700000",
        "Most bytes of pictures in one result of a tool (MCP), shown smaller where they are more; 0 = none; 0–1073741824",
    ),
    plain("STRIP_METADATA", "false", "Store outputs without the prompt and workflow that ComfyUI writes into them"),
    plain("IMAGE_CONVERSIONS", "2", "Pictures that are converted at the same time, 1–64"),
    plain("JOB_RETENTION_DAYS", "0", "Days after which ended jobs are removed; 0 = never; at most 36500"),
    plain(
        "OUTPUT_RETENTION_DAYS",
        "0",
        "Days after which output files are removed, their records kept; 0 = never; at most 36500",
    ),
    plain(
        "RATE_LIMIT_MAX",
        "100",
        "Requests per window, of a key, a token's `sub`, or an address without credentials; 1–1000000000",
    ),
    plain("RATE_LIMIT_WINDOW_MS", "60000", "Rate limit window (1min), 100–86400000"),
    plain(
        "LOG_LEVEL",
        "info",
        "trace, debug, info, warn, error, fatal or silent; for single targets `info,gateway_worker=debug`",
    ),
    plain("LOG_FORMAT", "auto", "auto (text on a terminal, else json), text or json"),
    plain(
        "METRICS_ENABLED",
        "true",
        "Whether `/metrics` shows what is measured; `false`: nothing is, and it answers 404",
    ),
    plain(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318 (empty = no traces)",
    ),
    secret("OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector: `name=value`, comma-separated"),
    plain("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "http/protobuf"),
    plain("OTEL_SERVICE_NAME", "comfyui-gateway", "What a process is called in traces"),
    plain(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "Which traces are recorded: always_on, always_off, traceidratio, or one of these after `parentbased_`",
    ),
    plain("OTEL_TRACES_SAMPLER_ARG", "1", "The share of traces that `traceidratio` records, 0–1"),
    plain(
        "PRIVACY_MODE",
        "false",
        "Redact prompts from logs, errors, files and, once a job has ended, from the database",
    ),
    plain("CORS_ORIGINS", "*", "Allowed CORS origins, comma-separated; `*` for any, `none` for none"),
    plain("TLS_CERT", "", "Certificate with its chain (a PEM file): the API is served over TLS"),
    plain("TLS_KEY", "", "The certificate's key (a PEM file)"),
    plain("OWNER_QUEUE_LIMIT", "0", "Jobs of one owner that may wait; 0 = no limit of its own; at most 100000000"),
    plain(
        "OWNER_RUNNING_LIMIT",
        "0",
        "Jobs of one owner that may run at once; 0 = as many as there is room for; at most 1000000",
    ),
    plain(
        "ALLOW_RAW_WORKFLOWS",
        "false",
        "Let admins, and keys with the right `raw`, run graphs that are not registered",
    ),
    plain(
        "RAW_NODES_ALLOWED",
        "",
        "Node classes that such graphs may have, comma-separated (empty = those of registered workflows)",
    ),
    plain("RAW_NODES_DENIED", "", "Node classes that such graphs may not have, beside those that are dangerous"),
    plain("NODE_ENV", "development", "development, test or production"),
    plain("GATEWAY_ENV", "", "The same under the gateway's own name; wins over NODE_ENV"),
    plain("QUEUE_MAX_DEPTH", "10000", "Jobs that may wait before POST /jobs answers 429; 1–100000000"),
    plain("QUEUE_AGEING_SECONDS", "600", "A job that waited this long counts as one priority higher; 1–86400"),
    plain("JOB_MAX_ATTEMPTS", "3", "How often a job is run before it fails, 1–20"),
    plain("WORKER_LEASE_SECONDS", "60", "How long a claim holds without renewal, 6–3600"),
    plain(
        "WORKER_NODE",
        "",
        "Name of this machine (empty = its host name); tells ComfyUI servers on loopback apart; 1–128 of `A-Z a-z 0-9 - _ .`",
    ),
    plain(
        "WORKER_PORT",
        "0",
        "Port on which a worker alone answers /health/live, /health/ready and /metrics; 0 for none; 0–65535",
    ),
    plain(
        "SHUTDOWN_DELAY_SECONDS",
        "0",
        "How long an API goes on serving after SIGTERM while /health/live says 503, so that a load balancer leaves it, 0–300",
    ),
    plain("SHUTDOWN_GRACE_SECONDS", "30", "How long running jobs may go on after SIGTERM, 0–3600"),
    plain(
        "MAX_OUTPUT_BYTES",
        "2147483648",
        "Largest file that is stored, of outputs and of uploads, in bytes; 1–1125899906842624",
    ),
];

/// What only some processes read.
pub(crate) const READERS: &[(Readers, &[&str])] = &[
    (
        Readers::Apis,
        &[
            "PORT",
            "API_KEYS",
            "JWT_SECRET",
            "JWT_PUBLIC_KEY",
            "JWT_ALGORITHM",
            "JWT_JWKS_FILE",
            "JWT_AUDIENCE",
            "JWT_ISSUER",
            "JWT_ROLE_CLAIM",
            "TRUSTED_PROXIES",
            "RATE_LIMIT_MAX",
            "RATE_LIMIT_WINDOW_MS",
            "OWNER_QUEUE_LIMIT",
            "CORS_ORIGINS",
            "TLS_CERT",
            "TLS_KEY",
            "ALLOW_RAW_WORKFLOWS",
            "RAW_NODES_ALLOWED",
            "RAW_NODES_DENIED",
            "MAX_IMAGE_SIZE",
            "MAX_BATCH_SIZE",
            "QUEUE_MAX_DEPTH",
            "CACHE_SCOPE",
            "MAX_UPLOAD_BYTES",
            "UPLOAD_TTL",
            "INPUT_ALLOWED_DOMAINS",
            "MAX_INLINE_BYTES",
            "OPENAI_MODELS",
            "PUBLIC_URL",
            "MCP_WAIT_SECONDS",
            "MCP_INLINE_BYTES",
            "SHUTDOWN_DELAY_SECONDS",
        ],
    ),
    (
        Readers::Workers,
        &[
            "COMFYUI_URL",
            "COMFYUI_HEADERS",
            "COMFYUI_TIMEOUT_MS",
            "COMFYUI_POLL_MS",
            "MAX_CONCURRENCY",
            "QUEUE_AGEING_SECONDS",
            "OWNER_RUNNING_LIMIT",
            "JOB_MAX_ATTEMPTS",
            "WORKER_LEASE_SECONDS",
            "WORKER_NODE",
            "WORKER_PORT",
            "SHUTDOWN_GRACE_SECONDS",
            "WEBHOOK_SECRET",
            "CACHE_TTL_SECONDS",
            "STRIP_METADATA",
            "JOB_RETENTION_DAYS",
            "OUTPUT_RETENTION_DAYS",
        ],
    ),
    (Readers::Commands, &["GATEWAY_API_KEY"]),
];
