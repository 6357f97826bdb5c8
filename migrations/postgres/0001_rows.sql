-- The rows of otpd. Times are milliseconds since the Unix epoch, small codes are those of the domain's enums, ids are
-- UUIDv7. There are no foreign keys: partitions are dropped whole, and every reference is made in the transaction that
-- makes the row it is to.

create table projects (
    id          uuid     primary key,
    name        text     not null,
    sandbox     boolean  not null,
    settings    jsonb    not null,
    tokens      bigint,
    tokens_used bigint   not null,
    rate_at     bigint   not null,
    created_at  bigint   not null
-- Counters move with every batch: room on the page keeps those updates off the index.
) with (fillfactor = 50);

create table api_keys (
    id         uuid     primary key,
    project_id uuid     not null,
    mode       smallint not null,
    prefix     text     not null unique,
    hash       bytea    not null,
    created_at bigint   not null,
    revoked_at bigint
);
create index api_keys_project on api_keys (project_id);

-- Verifications, dispatches and attempts lie in one partition a UTC day, by the day that is in the verification's id,
-- so that forgetting is dropping a table. The default partitions catch what no day's partition takes. No column that
-- claims, finishes and guesses change may be indexed: their updates stay on the page (HOT), which the fillfactor of
-- every partition leaves room for.
create table verifications (
    id            uuid     not null,
    project_id    uuid     not null,
    mode          smallint not null,
    channel       smallint not null,
    country       text,
    record_id     text     collate "C" not null,
    locale        text     not null,
    target        bytea    not null,
    target_tag    bytea    not null,
    key_id        integer  not null,
    code_hash     bytea    not null,
    code          bytea,
    guesses       smallint not null,
    budget        smallint not null,
    carried_left  smallint,
    carried_until bigint,
    sends         smallint not null,
    expires_at    bigint   not null,
    state         smallint not null,
    closed_at     bigint,
    session       boolean  not null,
    primary key (id)
) partition by range (id);
create index verifications_project on verifications (project_id, id desc);
create index verifications_record on verifications (project_id, record_id, id) where record_id <> '';
create table verifications_default partition of verifications default with (fillfactor = 70);

create table dispatches (
    verification_id  uuid     not null,
    n                smallint not null,
    project_id       uuid     not null,
    mode             smallint not null,
    channel          smallint not null,
    newest           boolean  not null,
    status           smallint not null,
    attempt          smallint not null,
    lease_until      bigint,
    first_attempt_at bigint,
    pass             smallint not null,
    tried            text     not null, -- one provider a line
    ambiguous        smallint not null,
    provider         text,
    reason           text,
    charge           smallint not null,
    created_at       bigint   not null,
    sent_at          bigint,
    delivered_at     bigint,
    primary key (verification_id, n)
) partition by range (verification_id);
create table dispatches_default partition of dispatches default with (fillfactor = 70);

create table attempts (
    verification_id uuid     not null,
    dispatch_n      smallint not null,
    n               smallint not null,
    provider        text,
    started_at      bigint   not null,
    finished_at     bigint   not null,
    status          smallint not null,
    cause           text,
    detail          text,
    message_id      text,
    primary key (verification_id, dispatch_n, n)
) partition by range (verification_id);
create table attempts_default partition of attempts default with (fillfactor = 70);

-- What providers say later. A receipt without a verification is parked: nobody knows its message yet.
create table receipts (
    id              uuid     primary key,
    provider        text     not null,
    message_id      text     not null,
    verification_id uuid,
    dispatch_n      smallint,
    attempt_n       smallint,
    status          smallint not null,
    detail          text,
    received_at     bigint   not null
);
create index receipts_parked on receipts (provider, message_id) where verification_id is null;
create index receipts_verification on receipts (verification_id) where verification_id is not null;
create index receipts_parked_received on receipts (received_at) where verification_id is null;
create index receipts_received on receipts (received_at);

-- Which verification a target stands for at present; also what two who open one at once meet at. Kept for a day after
-- its verification's life.
create table open_targets (
    project_id      uuid     not null,
    target          bytea    not null,
    record_id       text     collate "C" not null,
    mode            smallint not null,
    verification_id uuid not null,
    expires_at      bigint not null,
    primary key (project_id, target, record_id, mode)
) with (fillfactor = 70);

-- First replies, kept for a day.
create table idempotency_keys (
    project_id      uuid     not null,
    mode            smallint not null,
    key             bytea    not null,
    request         bytea not null,
    verification_id uuid not null,
    dispatch_n      smallint not null,
    expires_in      integer not null,
    created_at      bigint not null,
    primary key (project_id, mode, key)
);
create index idempotency_keys_created on idempotency_keys (created_at);

-- Up to three GCRA windows of one subject. Which columns are in use is known to the subject's kind.
create table limits (
    key   bytea  primary key,
    time0 bigint not null default 0,
    time1 bigint not null default 0,
    time2 bigint not null default 0
) with (fillfactor = 70);

-- Dispatches that still have work: written at accept, gone at the end. A queue, so it is vacuumed early.
create table due (
    verification_id uuid     not null,
    n               smallint not null,
    due_at          bigint   not null,
    deadline        bigint   not null,
    published       smallint not null,
    primary key (verification_id, n)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
create index due_due_at on due (due_at);

-- Which attempt a provider's message id belongs to, for as long as receipts come.
create table message_ids (
    provider        text     not null,
    message_id      text     not null,
    verification_id uuid     not null,
    dispatch_n      smallint not null,
    attempt_n       smallint not null,
    created_at      bigint   not null,
    primary key (provider, message_id)
);
create index message_ids_created on message_ids (created_at);

create table stats_hourly (
    project_id uuid     not null,
    mode       smallint not null,
    hour       bigint   not null,
    dimension  smallint not null,
    value      text     collate "C" not null,
    count      bigint   not null,
    primary key (project_id, mode, hour, dimension, value)
) with (fillfactor = 70);

-- Deleting a row here is what makes the targets of that project and day unreadable for ever.
create table day_keys (
    project_id uuid   not null,
    day        bigint not null,
    sealed     bytea  not null,
    primary key (project_id, day)
);

create table sandbox_messages (
    id         uuid     primary key,
    project_id uuid     not null,
    mode       smallint not null,
    channel    smallint not null,
    target     bytea    not null,
    sealed     bytea    not null,
    created_at bigint   not null
);
create index sandbox_messages_project on sandbox_messages (project_id, created_at);
create index sandbox_messages_created on sandbox_messages (created_at);
