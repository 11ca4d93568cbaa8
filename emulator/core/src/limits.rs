//! Every bound the rules set, with its unit and where it comes from.

use std::num::NonZeroU32;

/// Longest registration id or enrollment group id, in characters (R-A1).
pub const REGISTRATION_ID_LENGTH_MAX: usize = 128;

/// Longest device id, in characters (R-G2).
pub const DEVICE_ID_LENGTH_MAX: usize = 128;

/// Longest reason of a status, in characters (R-G1).
pub const STATUS_REASON_LENGTH_MAX: usize = 128;

/// Longest name of who manages a module, in characters. Ours.
pub const MANAGED_BY_LENGTH_MAX: usize = 128;

/// Longest scope of an IoT Edge device, in characters. Ours: those a hub makes have up to 170.
pub const SCOPE_LENGTH_MAX: usize = 256;

/// Most scopes above a device. Ours.
pub const PARENT_SCOPES_MAX: usize = 10;

/// How wrong a device's clock may go, in seconds: that long a token is taken past its end (R-G11).
pub const SAS_CLOCK_SKEW_SECONDS: u32 = 300;

/// Longest wait before a session is cut off, in seconds (R-E6).
pub const FORCED_CLOSE_DELAY_SECONDS_MAX: u32 = 300;

/// Most that a throttled registration is told to wait longer than needed, in seconds (R-H1). Ours.
pub const RETRY_AFTER_JITTER_SECONDS_MAX: u32 = 600;

/// Longest certificate name, in characters. R-D1 names no bound; this one is ours.
pub const CERTIFICATE_NAME_LENGTH_MAX: usize = 64;

/// Longest id scope, in characters. Real ones have 11; this bound is ours.
pub const ID_SCOPE_LENGTH_MAX: usize = 64;

/// Longest host name, in characters (RFC 1035, 2.3.4, less the root dot and length bytes).
pub const HOST_NAME_LENGTH_MAX: usize = 253;

/// Longest label of a host name, in characters (RFC 1035, 2.3.4).
pub const HOST_LABEL_LENGTH_MAX: usize = 63;

/// Longest entity tag, in bytes. Ours: real ones are 12 to 38.
pub const ETAG_LENGTH_MAX: usize = 128;

/// Shortest symmetric key, in bytes (R-A31).
pub const SYMMETRIC_KEY_BYTES_MIN: usize = 16;

/// Longest symmetric key, in bytes (R-A31).
pub const SYMMETRIC_KEY_BYTES_MAX: usize = 64;

/// Longest public key of a TPM, in bytes. Ours: those of 4096 bits have about 600.
pub const TPM_KEY_BYTES_MAX: usize = 1024;

/// How long a challenge to a TPM counts, in seconds. Ours: as long as the tokens SDKs sign last.
pub const TPM_CHALLENGE_SECONDS: i64 = 3600;

/// Most certificates a device may present, leaf included (R-A18: at least ten).
pub const CHAIN_LENGTH_MAX: usize = 10;

/// Smallest weight of a linked hub (R-B13).
pub const HUB_WEIGHT_MIN: u16 = 1;

/// Largest weight of a linked hub (R-B13).
pub const HUB_WEIGHT_MAX: u16 = 1000;

/// Longest address of a webhook, in characters. Ours: browsers and proxies agree on it.
pub const WEBHOOK_URL_LENGTH_MAX: usize = 2048;

/// Most linked hubs (behaviour document H.1).
pub const LINKED_HUBS_MAX: usize = 50;

/// Largest `tags` section, in counted bytes (R-G20).
pub const TWIN_TAGS_BYTES_MAX: usize = 8 * 1024;

/// Largest `desired` or `reported` section, in counted bytes (R-G20).
pub const TWIN_PROPERTIES_BYTES_MAX: usize = 32 * 1024;

/// Longest string value in a twin, in bytes (R-G20).
pub const TWIN_STRING_BYTES_MAX: usize = 4 * 1024;

/// Longest key in a twin, in bytes (R-G20).
pub const TWIN_KEY_BYTES_MAX: usize = 1024;

/// Most objects nested in a twin section, the section itself not counted (R-G20).
pub const TWIN_DEPTH_MAX: usize = 10;

/// Smallest integer in a twin (R-G20).
pub const TWIN_INTEGER_MIN: i64 = -(1 << 52);

/// Largest integer in a twin (R-G20).
pub const TWIN_INTEGER_MAX: i64 = 1 << 52;

/// What a number counts towards a twin section, in bytes (R-G20).
pub const TWIN_NUMBER_BYTES: usize = 8;

/// What a boolean counts towards a twin section, in bytes (R-G20).
pub const TWIN_BOOLEAN_BYTES: usize = 4;

/// Longest direct method name, in bytes. Ours: it must fit an MQTT topic level.
pub const METHOD_NAME_BYTES_MAX: usize = 128;

/// Largest direct method payload either way, in bytes (R-G24).
pub const METHOD_PAYLOAD_BYTES_MAX: usize = 128 * 1024;

/// Shortest wait for a method's answer, in seconds (R-G24).
pub const METHOD_RESPONSE_TIMEOUT_SECONDS_MIN: u32 = 5;

/// Longest wait for a method's answer, in seconds (R-G24, I-10).
pub const METHOD_RESPONSE_TIMEOUT_SECONDS_MAX: u32 = 300;

/// Wait for a method's answer unless told otherwise, in seconds (R-G24).
pub const METHOD_RESPONSE_TIMEOUT_SECONDS_DEFAULT: u32 = 30;

/// Longest wait for a device to connect, in seconds (R-G24). The default is not to wait.
pub const METHOD_CONNECT_TIMEOUT_SECONDS_MAX: u32 = 300;

/// Largest device-to-cloud message with its properties, in bytes (R-G38).
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Most partitions of an event endpoint (Azure: 32 on all tiers but dedicated ones).
pub const PARTITIONS_MAX: u16 = 32;

/// Fewest days that events are kept (R-G38).
pub const EVENT_RETENTION_DAYS_MIN: u8 = 1;

/// Most days that events are kept (R-G38).
pub const EVENT_RETENTION_DAYS_MAX: u8 = 7;

/// Longest query, in characters (Microsoft's page on twin queries, limitations).
pub const QUERY_CHARACTERS_MAX: usize = 8192;

/// Deepest nesting of a query's parentheses, NOTs, signs and calls. Ours.
pub const QUERY_DEPTH_MAX: usize = 64;

/// Most constants in one IN or NIN list. Ours; the length of a query leaves room for few more.
pub const QUERY_LIST_ITEMS_MAX: usize = 4096;

/// Most columns in one SELECT. Ours.
pub const QUERY_COLUMNS_MAX: usize = 100;

/// Most names in one path of a query. Ours: a twin is not that deep (R-G20).
pub const QUERY_PATH_SEGMENTS_MAX: usize = 32;

/// Most paths in one GROUP BY. Ours.
pub const QUERY_GROUP_PATHS_MAX: usize = 8;

/// Most groups one query may make. Ours.
pub const QUERY_GROUPS_MAX: usize = 10_000;

/// Longest job id, in characters (R-G32).
pub const JOB_ID_LENGTH_MAX: usize = 64;

/// Shortest time a job may be given, in seconds. Ours.
pub const JOB_EXECUTION_SECONDS_MIN: u32 = 1;

/// Longest time a job may be given, in seconds: as long as its record is kept (R-G32). Ours.
pub const JOB_EXECUTION_SECONDS_MAX: u32 = 30 * 86_400;

/// Time a job has unless told otherwise, in seconds. That of the Node client; the service's own is
/// not published.
pub const JOB_EXECUTION_SECONDS_DEFAULT: u32 = 3600;

/// How far ahead a job may begin, in seconds: Azure answers "Must be within 168 hours".
pub const JOB_START_AHEAD_SECONDS_MAX: i64 = 168 * 3600;

/// How long a job is remembered once it has ended, in milliseconds (R-G32).
pub const JOB_KEPT_MS: i64 = 30 * 86_400 * 1000;

/// Fewest units of a hub.
pub const HUB_UNITS_MIN: u32 = 1;

/// Most units of a hub (Microsoft's page on scaling; S1 and S2).
pub const HUB_UNITS_MAX: u32 = 200;

/// Messages that may wait for one device (R-G27).
pub const C2D_QUEUE_LENGTH_MAX: usize = 50;

/// Largest message for a device, in bytes (behaviour H.2: C2D 64 KB).
pub const C2D_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How long a device that took a message keeps it from others, in seconds (R-G27).
pub const C2D_LOCK_SECONDS: u32 = 60;

/// Longest such time a device may ask for over HTTP, in seconds. Ours: that of feedback.
pub const C2D_LOCK_SECONDS_MAX: u32 = 300;

/// How long a message for a device is good, in seconds, unless it says so itself (R-G27).
pub const C2D_TTL_SECONDS_DEFAULT: u32 = 3600;

/// Shortest such time a hub may be configured to, in seconds; feedback has the same (R-G27).
pub const C2D_TTL_SECONDS_MIN: u32 = 60;

/// Longest such time a hub may be configured to, in seconds; feedback has the same (R-G27).
pub const C2D_TTL_SECONDS_MAX: u32 = 2 * 86_400;

/// How often a device may abandon a message before it is given up (R-G27); feedback has the same.
pub const C2D_DELIVERY_COUNT_DEFAULT: u32 = 10;

/// Most a hub may be configured to (R-G27); feedback has the same.
pub const C2D_DELIVERY_COUNT_MAX: u32 = 100;

/// Records of one batch of feedback (R-G30).
pub const FEEDBACK_BATCH_RECORDS: usize = 64;

/// Least time between two batches of feedback that are not full, in milliseconds (R-G30).
pub const FEEDBACK_BATCH_MS: i64 = 15_000;

/// Batches of feedback that wait at one hub; the oldest makes room. Ours.
pub const FEEDBACK_BATCHES_MAX: usize = 1000;

/// How long a batch of feedback is locked for whoever took it, in seconds (Microsoft's page on
/// cloud-to-device messages, configuration options).
pub const FEEDBACK_LOCK_SECONDS_DEFAULT: u32 = 60;

/// Registrations of a provisioning service in a minute, and its service operations (behaviour
/// H.1, as of 2026; 200 before).
pub const DPS_OPERATIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// Polls of one device at a provisioning service in ten seconds (behaviour H.1).
pub const DPS_POLLS_PER_TEN_SECONDS: NonZeroU32 = NonZeroU32::new(5).unwrap();
