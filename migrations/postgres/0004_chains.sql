-- Chains: a dispatch may wait behind the one before it, and may go to a target of its own.

-- A target that is not its verification's: sealed under the id `target_of` and the key of that id's day. `country` is its own.
alter table dispatches add column target bytea;
alter table dispatches add column target_of uuid;
alter table dispatches add column country text;

-- Of fallbacks: the number that their chain begins with, the seconds that the one before is given, when they go out at the
-- latest or went, and why they went. Dispatches from before this have none and are read as what they are.
alter table dispatches add column chain smallint;
alter table dispatches add column after_s smallint;
alter table dispatches add column fires_at bigint;
alter table dispatches add column fired_by smallint;
