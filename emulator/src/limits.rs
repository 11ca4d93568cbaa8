//! Every bound of the shell, with its unit and where the figure comes from.

use std::time::Duration;

/// How long a peer may take for the TLS handshake. Ours; Azure publishes none.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a peer may take after the handshake to send a whole CONNECT. Ours.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may take to send the body of an HTTP request. Ours.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may leave our bytes unread before its connection ends. Ours.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Certificates of issuers that are remembered from one connection to the next. Ours.
pub const ISSUERS_MAX: usize = 1024;

/// Longest of them, in bytes; a longer one is read each time it is shown. Ours.
pub const ISSUER_BYTES_MAX: usize = 8 * 1024;

/// Longest CONNECT body, in bytes: three strings of the sizes SDKs use, with room to spare. Ours.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;

/// Longest MQTT packet body at a hub, in bytes: a 256 KB message (behaviour H.2) and its topic.
pub const HUB_PACKET_BYTES_MAX: usize = 256 * 1024 + 66 * 1024;

/// Longest MQTT packet body and HTTP body at DPS, in bytes (behaviour H.1, message size).
pub const DPS_MESSAGE_BYTES_MAX: usize = 96 * 1024;

/// Longest HTTP request body at a service API, in bytes. Ours.
pub const HTTP_BODY_BYTES_MAX: usize = 1024 * 1024;

/// How much of a longer body is let pass before the refusal is sent, in bytes. Ours.
pub const HTTP_REFUSED_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest WebSocket frame and message, in bytes: the longest packet and small ones beside it. Ours.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// Topic filters a hub session may hold at once (R-G15 says 5 subscriptions).
pub const SUBSCRIPTIONS_MAX: usize = 5;

/// Topic filters in one SUBSCRIBE (wire 4.2: C sends five).
pub const FILTERS_PER_SUBSCRIBE_MAX: usize = 16;

/// Faults of DPS that are still to come or to end. Ours.
pub const FAULTS_MAX: usize = 100;

/// How long trouble that the admin listener is asked for may last, in seconds. Ours.
pub const FAULT_SECONDS_MAX: u32 = 86_400;

/// Commands waiting for a device session to take them. Ours.
pub const MAILBOX_MAX: usize = 256;

/// How much a session writes of the messages that wait for its device before it looks at other
/// things, in bytes. Ours.
pub const DELIVERY_BYTES: usize = 64 * 1024;

/// Longest keep-alive a hub honours, and what applies to a client that asks for none (R-G14).
pub const KEEP_ALIVE_SERVER_MAX: Duration =
    Duration::from_millis(linarite_core::hub::session::SILENCE_MS_MAX);

/// Connections open at once over all listeners. Ours.
pub const CONNECTIONS_MAX: usize = 250_000;

/// Desks at once: for each device that may be registered, one to DPS and one to its hub. Ours.
pub const DESKS_MAX: usize = 2 * REGISTRATIONS_MAX;

/// CA certificates of a DPS instance (behaviour H.1).
pub const CA_CERTIFICATES_MAX: usize = 25;

/// Enrollment groups of a DPS instance: 100 by certificate and 100 by key (behaviour H.1).
pub const ENROLLMENT_GROUPS_MAX: usize = 200;

/// Individual enrollments, and registration records, of a DPS instance (behaviour H.1).
pub const REGISTRATIONS_MAX: usize = 1_000_000;

/// Challenges to TPMs that may be open at once. Ours; each holds about 1 KB for an hour.
pub const TPM_CHALLENGES_MAX: usize = 10_000;

/// Devices and modules of one hub together (behaviour H.2).
pub const IDENTITIES_MAX: usize = 1_000_000;

/// Modules of one device (IoT Hub's published limit).
pub const MODULES_PER_DEVICE_MAX: usize = 50;

/// Longest page of a query. Ours; the service does not publish one for DPS.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// Items of a page of a hub's query, unless the caller asks for more or fewer (Microsoft's
/// reference of the query language, pagination).
pub const QUERY_PAGE_ITEMS: usize = 100;

/// Size of a page of a hub's query, in bytes of JSON, after which the rest goes onto the next. Ours.
pub const QUERY_PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Documents a query or job looks at before others have their turn. Ours.
pub const QUERY_BATCH: usize = 256;

/// Jobs of one hub that are remembered; those that ended first make room. Ours.
pub const JOBS_MAX: usize = 10_000;

/// Jobs of one hub that have not ended, where no tier sets fewer (R-G35). Ours.
pub const JOBS_ACTIVE_MAX: usize = 1000;

/// Devices of all remembered jobs of one hub. Ours.
pub const JOB_TARGETS_MAX: usize = 2_000_000;

/// What devices answered to all remembered jobs of one hub, in bytes. Ours.
pub const JOB_PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Direct methods of one job that wait for devices at once. Ours.
pub const JOB_CALLS_MAX: usize = 512;

/// Least time between two events of a running job, in milliseconds. Ours.
pub const JOB_NEWS_INTERVAL_MS: i64 = 1000;

/// Items of one bulk operation at DPS (R-F6).
pub const BULK_ITEMS_MAX: usize = 10;

/// Items of one bulk operation on a hub's registry (behaviour F.2).
pub const REGISTRY_ITEMS_MAX: usize = 100;

/// Shared access policies of a DPS instance. Ours; Azure publishes none.
pub const POLICIES_MAX: usize = 100;

/// Longest name of a shared access policy, in characters. Ours; Azure publishes none.
pub const POLICY_NAME_LENGTH_MAX: usize = 64;

/// Memory a hub spends on events unless told otherwise, in bytes. Ours; Azure has disks for it.
pub const EVENT_BYTES_DEFAULT: u64 = 256 * MIB;

/// Least memory for the events of one partition, in bytes: a few of the largest messages. Ours.
pub const PARTITION_BYTES_MIN: u64 = MIB;

/// Events a reader is given at once. Ours.
pub const EVENT_BATCH_MAX: usize = 1000;

/// Connections of the admin listener open at once. Ours.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Event streams of the admin listener open at once. Ours.
pub const EVENT_STREAMS_MAX: usize = 64;

/// Events of a hub one stream has in hand, so that a reader who stops keeps little alive. Ours.
pub const STREAM_BATCH: usize = 16;

/// Events of the emulator itself that are kept for who watches them. Ours; about 1 MB.
pub const JOURNAL_EVENTS_MAX: usize = 4096;

/// How often a stream with nothing to tell says that it is still there. Ours.
pub const STREAM_SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// How long a connection of the admin listener has for its last words when all ends. Ours.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_millis(250);

/// Subscribers of the telemetry mirror at once. Ours.
pub const MIRROR_CLIENTS_MAX: u16 = 32;

/// Connections of the mirror at once, those that have not said CONNECT included. Ours.
pub const MIRROR_CONNECTIONS_MAX: usize = 64;

/// Topic filters of one subscriber of the mirror. Ours.
pub const MIRROR_FILTERS_MAX: usize = 32;

/// Messages of QoS 1 that one subscriber of the mirror may owe an acknowledgement for. Ours.
pub const MIRROR_INFLIGHT_MAX: usize = 64;

/// Messages on their way into the mirror, of all hubs. Ours.
pub const MIRROR_QUEUE: usize = 64;

/// Least size of a segment of the mirror's log, in bytes, and how many there are: what a
/// subscriber may be behind. Ours.
pub const MIRROR_SEGMENT_BYTES: usize = 1024 * 1024;
/// See [`MIRROR_SEGMENT_BYTES`].
pub const MIRROR_SEGMENTS: usize = 16;

/// Messages the mirror's broker hands to a subscriber at once. Ours; it stops at 200 of its own
/// accord, so a subscriber that does not read keeps at most 250 alive until [`WRITE_TIMEOUT`].
pub const MIRROR_BATCH: u64 = 50;

/// How much is written to a subscriber of the mirror at once, in bytes, or one message. Ours.
pub const MIRROR_WRITE_BYTES: usize = 64 * 1024;

/// How long the mirror's broker may take for anything before it counts as dead. Ours.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(5);

const MIB: u64 = 1024 * 1024;

/// Hubs linked to a DPS instance (behaviour H.1).
pub const LINKED_HUBS_MAX: usize = linarite_core::limits::LINKED_HUBS_MAX;

/// Longest region of a linked hub, in characters. Ours; Azure's own have at most 20.
pub const LOCATION_LENGTH_MAX: usize = 64;

/// Tags of a resource, and the longest name and value of one, in characters: what Azure allows
/// for any resource.
pub const TAGS_MAX: usize = 50;
/// See [`TAGS_MAX`].
pub const TAG_NAME_LENGTH_MAX: usize = 512;
/// See [`TAGS_MAX`].
pub const TAG_VALUE_LENGTH_MAX: usize = 256;

/// Longest answer of a webhook, in bytes: what it says for the device must fit a message (H.1).
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = DPS_MESSAGE_BYTES_MAX;

/// Longest head of a webhook's answer, in bytes. Ours.
pub const WEBHOOK_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Webhooks asked at the same moment; others wait. Ours: each takes a descriptor.
pub const WEBHOOKS_MAX: usize = 256;

/// How often one registration asks, where its enrollment changes meanwhile. Ours.
pub const WEBHOOK_ROUNDS_MAX: usize = 3;

/// Largest count of a throttle that may be configured.
pub const THROTTLE_MAX: u32 = 1_000_000_000;

/// Longest wait for a webhook that may be configured, in seconds: what the load balancer before
/// Azure Functions allows.
pub const WEBHOOK_TIMEOUT_SECONDS_MAX: u64 = 230;

/// The largest daily quota of messages that may be configured: more than the largest tier's.
pub const DAILY_MESSAGES_MAX: u64 = 1_000_000_000_000;

/// How long a request waits for its turn at a hub before it is refused (R-H4), milliseconds.
/// Assumed: Azure only says that there is a queue.
pub const SHAPING_PATIENCE_MS: u32 = 10_000;
