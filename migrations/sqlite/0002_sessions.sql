-- People who have logged in, their sessions, and the keys that sign their tokens.

-- A person is known by the blind index of a target. While a root key is being changed a person has a row under each of
-- the roots, all with the same id.
create table users (
    project_id blob    not null,
    target     blob    not null,
    id         blob    not null,
    created_at integer not null,
    primary key (project_id, target)
) strict, without rowid;

-- A refresh token names its session and a generation: one of an older generation has been spent.
create table sessions (
    id         blob    primary key,
    project_id blob    not null,
    user_id    blob    not null,
    channel    integer not null,
    generation integer not null,
    created_at integer not null,
    expires_at integer not null,
    ended_at   integer
) strict, without rowid;

create index sessions_by_expiry on sessions (expires_at);

create table session_keys (
    kid        text    primary key,
    sealed     blob    not null,
    public     blob    not null,
    created_at integer not null,
    signs_from integer not null,
    revoked_at integer
) strict, without rowid;

-- Whether a key may bring codes of its caller's own. Programs that do not know of it make keys that may not.
alter table api_keys add column own_codes integer not null default 0;

-- Whether the code is the caller's own: knowing it proves nothing about who holds the target.
alter table verifications add column own_code integer not null default 0;
