-- Statistics of whole days, so that a question about months does not read every hour of them. Days are summed up when
-- they are over for a while; what still changes in one of those is counted here too. The hours stay and are the truth.
-- The rows of a project lie far apart, so its key has all that is read of them.
create table stats_daily (
    project_id uuid     not null,
    mode       smallint not null,
    day        bigint   not null,
    dimension  smallint not null,
    value      text     collate "C" not null,
    count      bigint   not null,
    primary key (project_id, mode, day, dimension, value) include (count)
);

-- Which days are summed up: from the first one to before the last one. No row while there are none.
create table stats_summed (
    one       boolean primary key default true check (one),
    first_day bigint not null,
    until_day bigint not null
);
