-- Times are milliseconds since 1970. Numbers that stand for names are the domain's codes. What is sealed, hashed or
-- an id is a blob. Strict tables refuse a value of another type, such as hexadecimal text that was not turned back.

create table projects (
    id          blob    primary key,
    name        text    not null,
    sandbox     integer not null,
    settings    text    not null,
    tokens      integer,
    tokens_used integer not null default 0,
    rate_at     integer not null default 0,
    created_at  integer not null
) strict, without rowid;

create table api_keys (
    id         blob    primary key,
    project_id blob    not null references projects (id),
    mode       integer not null,
    prefix     text    not null unique,
    hash       blob    not null,
    created_at integer not null,
    revoked_at integer
) strict, without rowid;

create index api_keys_by_project on api_keys (project_id);

create table verifications (
    id            blob    primary key,
    project_id    blob    not null,
    mode          integer not null,
    channel       integer not null,
    country       text,
    record_id     text    not null,
    locale        text    not null,
    target        blob    not null,
    target_tag    blob    not null,
    key_id        integer not null,
    code_hash     blob    not null,
    code          blob,
    guesses       integer not null,
    budget        integer not null,
    carried_left  integer,
    carried_until integer,
    sends         integer not null,
    expires_at    integer not null,
    state         integer not null,
    closed_at     integer,
    session       integer not null
) strict, without rowid;

create index verifications_by_project on verifications (project_id, id desc);
create index verifications_by_record on verifications (project_id, record_id, id) where record_id <> '';

create table dispatches (
    verification_id  blob    not null,
    n                integer not null,
    project_id       blob    not null,
    mode             integer not null,
    channel          integer not null,
    newest           integer not null,
    status           integer not null,
    attempt          integer not null,
    lease_until      integer,
    first_attempt_at integer,
    pass             integer not null,
    tried            text    not null,
    ambiguous        integer not null,
    provider         text,
    reason           text,
    charge           integer not null,
    created_at       integer not null,
    sent_at          integer,
    delivered_at     integer,
    primary key (verification_id, n)
) strict, without rowid;

-- Failed and expired: the few that an operator looks for.
create index dispatches_unsent on dispatches (verification_id, n) where status in (5, 6);

create table attempts (
    verification_id blob    not null,
    dispatch_n      integer not null,
    n               integer not null,
    provider        text,
    started_at      integer not null,
    finished_at     integer not null,
    status          integer not null,
    cause           text,
    detail          text,
    message_id      text,
    primary key (verification_id, dispatch_n, n)
) strict, without rowid;

create table receipts (
    id              blob    primary key,
    provider        text    not null,
    message_id      text    not null,
    verification_id blob,
    dispatch_n      integer,
    attempt_n       integer,
    status          integer not null,
    detail          text,
    received_at     integer not null
) strict, without rowid;

create index receipts_parked on receipts (provider, message_id, received_at) where verification_id is null;
create index receipts_by_verification on receipts (verification_id) where verification_id is not null;

create table open_targets (
    project_id      blob    not null,
    target          blob    not null,
    record_id       text    not null,
    mode            integer not null,
    verification_id blob    not null,
    expires_at      integer not null,
    primary key (project_id, target, record_id, mode)
) strict, without rowid;

create table idempotency_keys (
    project_id      blob    not null,
    mode            integer not null,
    key             blob    not null,
    request         blob    not null,
    verification_id blob    not null,
    dispatch_n      integer not null,
    expires_in      integer not null,
    created_at      integer not null,
    primary key (project_id, mode, key)
) strict, without rowid;

create table limits (
    key   blob    primary key,
    time0 integer not null,
    time1 integer not null,
    time2 integer not null
) strict, without rowid;

create table due (
    verification_id blob    not null,
    n               integer not null,
    due_at          integer not null,
    deadline        integer not null,
    published       integer not null,
    primary key (verification_id, n)
) strict, without rowid;

create index due_by_time on due (due_at);

create table message_ids (
    provider        text    not null,
    message_id      text    not null,
    verification_id blob    not null,
    dispatch_n      integer not null,
    attempt_n       integer not null,
    created_at      integer not null,
    primary key (provider, message_id)
) strict, without rowid;

create table stats_hourly (
    project_id blob    not null,
    mode       integer not null,
    hour       integer not null,
    dimension  integer not null,
    value      text    not null,
    count      integer not null,
    primary key (project_id, mode, hour, dimension, value)
) strict, without rowid;

create table day_keys (
    project_id blob    not null,
    day        integer not null,
    sealed     blob    not null,
    primary key (project_id, day)
) strict, without rowid;

create table sandbox_messages (
    id         blob    primary key,
    project_id blob    not null,
    mode       integer not null,
    channel    integer not null,
    target     blob    not null,
    sealed     blob    not null,
    created_at integer not null
) strict;

create index sandbox_messages_by_project on sandbox_messages (project_id, created_at);
