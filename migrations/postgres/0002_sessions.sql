-- People who have logged in, their sessions, and the keys that sign their tokens.

-- A person is known by the blind index of a target. While a root key is being changed a person has a row under each of
-- the roots, all with the same id.
create table users (
    project_id uuid   not null,
    target     bytea  not null,
    id         uuid   not null,
    created_at bigint not null,
    primary key (project_id, target)
);

-- A refresh token names its session and a generation: one of an older generation has been spent.
create table sessions (
    id         uuid     primary key,
    project_id uuid     not null,
    user_id    uuid     not null,
    channel    smallint not null,
    generation integer  not null,
    created_at bigint   not null,
    expires_at bigint   not null,
    ended_at   bigint
);
create index sessions_expires on sessions (expires_at);

create table session_keys (
    kid        text   collate "C" primary key,
    sealed     bytea  not null,
    public     bytea  not null,
    created_at bigint not null,
    signs_from bigint not null,
    revoked_at bigint
);

-- Whether a key may bring codes of its caller's own. Programs that do not know of it make keys that may not.
alter table api_keys add column own_codes boolean not null default false;

-- Whether the code is the caller's own: knowing it proves nothing about who holds the target.
alter table verifications add column own_code boolean  not null default false;
