//! The tables `users`, `sessions` and `session_keys`.

use async_trait::async_trait;
use sqlx::query;
use uuid::Uuid;

use super::PgBackend;
use super::columns::{Columns, ms};
use super::patience::answered;
use crate::otp::channel::Channel;
use crate::otp::ids::ProjectId;
use crate::otp::rows::{Index, Indexes};
use crate::otp::time::Timestamp;
use crate::store::sessions::{Session, SessionKey, Sessions};
use crate::store::{Result, StoreError};

/// How often somebody else may have made the user meanwhile.
const TRIES: u32 = 4;

fn session(mut row: Columns<'_>) -> Result<Session> {
    Ok(Session {
        id: row.take()?,
        project: row.project()?,
        user: row.take()?,
        channel: row.code(Channel::from_code)?,
        generation: row.take()?,
        created: row.time()?,
        expires: row.time()?,
        ended: row.time_if_any()?,
    })
}

fn session_key(mut row: Columns<'_>) -> Result<SessionKey> {
    Ok(SessionKey {
        kid: row.take()?,
        sealed: row.sealed()?,
        public: row.bytes()?,
        created: row.time()?,
        signs_from: row.time()?,
        revoked: row.time_if_any()?,
    })
}

impl PgBackend {
    /// The user of any of these indexes, and whether the newest one is among those that are theirs.
    async fn find_user(&self, project: ProjectId, target: &Indexes) -> Result<Option<(Uuid, bool)>> {
        let row = query(
            "select id, bool_or(target = $3) over ()
             from users
             where project_id = $1 and target = any($2::bytea[])
             order by created_at, id
             limit 1",
        )
        .bind(project.as_uuid())
        .bind(target.all().map(Vec::from).collect::<Vec<_>>())
        .bind(target.newest.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let read = |mut row: Columns<'_>| Ok((row.take()?, row.take()?));
        row.map(|row| read(Columns::of(&row))).transpose()
    }

    /// Makes `user` the one of all these indexes, or of none when somebody else has one of them; answers whether it did.
    async fn create_user(&self, project: ProjectId, targets: &[Index], user: Uuid, now: Timestamp) -> Result<bool> {
        let mut targets: Vec<_> = targets.iter().map(|target| target.to_vec()).collect();
        // In one order, so that two who make rows for the same indexes wait for each other and not in a circle.
        targets.sort_unstable();
        targets.dedup();
        answered(async {
            let mut tx = self.pool.begin().await?;
            let made = query(
                "insert into users (project_id, target, id, created_at)
                 select $1, target, $3, $4 from unnest($2::bytea[]) as target
                 on conflict (project_id, target) do nothing",
            )
            .bind(project.as_uuid())
            .bind(&targets)
            .bind(user)
            .bind(now.as_ms())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let is_whole = made == targets.len() as u64;
            if is_whole {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            Ok(is_whole)
        })
        .await
    }
}

#[async_trait]
impl Sessions for PgBackend {
    async fn user_of(&self, project: ProjectId, target: &Indexes, new: Uuid, now: Timestamp) -> Result<Uuid> {
        for _ in 0..TRIES {
            match self.find_user(project, target).await? {
                Some((user, true)) => return Ok(user),
                Some((user, false)) => {
                    // Known under an older root only, which will not be listed for ever.
                    self.create_user(project, &[target.newest], user, now).await?;
                    return Ok(user);
                }
                None => {
                    let all: Vec<_> = target.all().collect();
                    if self.create_user(project, &all, new, now).await? {
                        return Ok(new);
                    }
                }
            }
        }
        Err(StoreError::Conflict("a user is made by others over and over".to_owned()))
    }

    async fn create_session(&self, session: &Session) -> Result<()> {
        query(
            "insert into sessions (id, project_id, user_id, channel, generation, created_at, expires_at, ended_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(session.id)
        .bind(session.project.as_uuid())
        .bind(session.user)
        .bind(session.channel.code())
        .bind(session.generation)
        .bind(session.created.as_ms())
        .bind(session.expires.as_ms())
        .bind(ms(session.ended))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<Session>> {
        let row = query(
            "select id, project_id, user_id, channel, generation, created_at, expires_at, ended_at
             from sessions
             where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| session(Columns::of(&row))).transpose()
    }

    async fn renew_session(&self, id: Uuid, generation: i32, expires: Timestamp, now: Timestamp) -> Result<bool> {
        let renewed = query(
            "update sessions
             set generation = generation + 1, expires_at = $3
             where id = $1 and generation = $2 and ended_at is null and expires_at > $4",
        )
        .bind(id)
        .bind(generation)
        .bind(expires.as_ms())
        .bind(now.as_ms())
        .execute(&self.pool)
        .await?;
        Ok(renewed.rows_affected() > 0)
    }

    async fn end_session(&self, id: Uuid, now: Timestamp) -> Result<bool> {
        let ended = query("update sessions set ended_at = $2 where id = $1 and ended_at is null")
            .bind(id)
            .bind(now.as_ms())
            .execute(&self.pool)
            .await?;
        Ok(ended.rows_affected() > 0)
    }

    async fn session_keys(&self) -> Result<Vec<SessionKey>> {
        let rows = query(
            "select kid, sealed, public, created_at, signs_from, revoked_at
             from session_keys
             order by signs_from desc, kid desc",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| session_key(Columns::of(row))).collect()
    }

    async fn add_session_key(&self, key: &SessionKey) -> Result<()> {
        query(
            "insert into session_keys (kid, sealed, public, created_at, signs_from, revoked_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&key.kid)
        .bind(key.sealed.0.as_slice())
        .bind(key.public.as_slice())
        .bind(key.created.as_ms())
        .bind(key.signs_from.as_ms())
        .bind(ms(key.revoked))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn revoke_session_keys(&self, except: &str, now: Timestamp) -> Result<u64> {
        let revoked = query("update session_keys set revoked_at = $2 where kid <> $1 and revoked_at is null")
            .bind(except)
            .bind(now.as_ms())
            .execute(&self.pool)
            .await?;
        Ok(revoked.rows_affected())
    }
}
